"""Recurrent layers and cells: text, parameters, outputs, states and gradients."""

import inspect

import numpy as np

#: Layers: class, arguments, and whether states are given. (Lengths, and limits of states, MXNet takes on
#: GPUs only.)
LAYERS = [
    ("RNN", {"hidden_size": 4}, False),
    ("RNN", {"hidden_size": 4, "activation": "tanh", "layout": "NTC", "num_layers": 2}, True),
    ("LSTM", {"hidden_size": 4, "num_layers": 2, "bidirectional": True, "input_size": 3}, True),
    ("LSTM", {"hidden_size": 4, "projection_size": 2, "layout": "NTC"}, False),
    ("GRU", {"hidden_size": 4, "num_layers": 2, "bidirectional": True, "layout": "NTC"}, False),
]
#: What is done with cells: a function that makes one, options of unroll, and whether lengths are given.
CELLS = [
    ("rnn", lambda r: r.RNNCell(4, "relu"), {"merge_outputs": True}, False),
    ("lstm", lambda r: r.LSTMCell(4), {"layout": "TNC", "merge_outputs": True}, True),
    (
        "lstm hard",
        lambda r: r.LSTMCell(4, activation="softsign", recurrent_activation="softsign"),
        {},
        False,
    ),
    ("gru", lambda r: r.GRUCell(4, input_size=3), {"merge_outputs": False}, True),
    (
        "stack",
        lambda r: _stack(r.SequentialRNNCell(), r.LSTMCell(4), r.DropoutCell(0.3), r.GRUCell(2)),
        {},
        True,
    ),
    ("hybrid", lambda r: _stack(r.HybridSequentialRNNCell(), r.GRUCell(3), r.RNNCell(2)), {}, False),
    (
        "both",
        lambda r: r.BidirectionalCell(r.LSTMCell(4), r.GRUCell(2)),
        {"merge_outputs": True},
        False,
    ),
    ("both cut", lambda r: r.BidirectionalCell(r.RNNCell(4), r.GRUCell(2)), {"merge_outputs": True}, True),
    ("both steps", lambda r: r.BidirectionalCell(r.RNNCell(4), r.GRUCell(2)), {"layout": "TNC"}, False),
    ("residual", lambda r: r.ResidualCell(r.GRUCell(3)), {"merge_outputs": True}, False),
    ("residual cut", lambda r: r.ResidualCell(r.LSTMCell(3)), {"merge_outputs": True}, True),
    ("zoneout", lambda r: r.ZoneoutCell(r.RNNCell(4), 0.5, 0.3), {"merge_outputs": True}, False),
    ("dropout", lambda r: r.DropoutCell(0.5), {}, False),
]


def _stack(cell, *members):
    with cell.name_scope():
        for member in members:
            cell.add(member)
    return cell


def _numbers(shape, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype(np.float32)


def _fill(mx, block) -> list[str]:
    lines = []
    for i, (name, parameter) in enumerate(block.collect_params().items()):
        parameter.set_data(mx.nd.array(_numbers(parameter.shape, 100 + i)))
        lines.append(f"{name} {parameter.shape}")
    return lines


def _named(names) -> list[str]:
    return [f"file {name}" for name in names]


def answers(mx) -> dict[str, np.ndarray]:
    found = {"signatures": np.array(_signatures(mx.gluon.rnn))}
    for i, layer in enumerate(LAYERS):
        found |= {f"layer{i}.{key}": value for key, value in _layer(mx, *layer).items()}
    for name, *cell in CELLS:
        found |= {f"{name}.{key}": value for key, value in _cell(mx, *cell).items()}
    return found


def _signatures(rnn) -> list[str]:
    classes = [c for c in vars(rnn).values() if inspect.isclass(c) and "Recurrent" not in c.__name__]
    names = {c.__name__: list(inspect.signature(c).parameters) for c in classes}
    return [f"{name} {' '.join(arguments)}" for name, arguments in sorted(names.items())]


def _layer(mx, name, arguments, has_states) -> dict:
    with mx.name.NameManager():
        layer = getattr(mx.gluon.rnn, name)(**arguments)
    x = _numbers((3, 2, 3) if arguments.get("layout") == "NTC" else (2, 3, 3), 1)
    x = np.concatenate([x, -x], axis=arguments.get("layout", "TNC").index("T"))
    x = mx.nd.array(x)
    texts = [repr(layer)]
    layer.initialize()
    states = None
    if has_states:
        shapes = [info["shape"] for info in layer.state_info(3)]
        states = [mx.nd.array(_numbers(shape, 7 + i)) for i, shape in enumerate(shapes)]
    layer(x, states)  # tells the shapes
    texts += [repr(layer), *_fill(mx, layer), *_named(layer._collect_params_with_prefix())]
    if "projection_size" in arguments:  # which MXNet cannot train on the CPU
        return {"texts": np.array(texts), "out": layer(x, states).asnumpy()}
    x.attach_grad()
    with mx.autograd.record():
        out = layer(x, states)
        out, after = out if states is not None else (out, [])
        loss = mx.nd.sum(out * mx.nd.array(_numbers(out.shape, 50)))
        for i, state in enumerate(after):
            loss = loss + mx.nd.sum(state * (i + 2))
    loss.backward()
    return {"texts": np.array(texts)} | _results(layer, x, out, after)


def _results(block, x, out, after) -> dict:
    outputs = out if isinstance(out, list | tuple) else [out]
    kinds = ["list" if isinstance(out, list | tuple) else "array"]
    found = {"kind": np.array(kinds), "x": x.grad.asnumpy()}
    found |= {f"out{i}": o.asnumpy() for i, o in enumerate(outputs)}
    found |= {f"state{i}": state.asnumpy() for i, state in enumerate(after)}
    parameters = [p for p in block.collect_params().values() if p.grad_req != "null"]
    return found | {f"grad{i}": p.grad().asnumpy() for i, p in enumerate(parameters)}


def _cell(mx, make, options, has_lengths) -> dict:
    with mx.name.NameManager():
        cell = make(mx.gluon.rnn)
    x = mx.nd.array(_numbers((4, 3, 3) if options.get("layout") == "TNC" else (3, 4, 3), 2))
    cell.initialize()
    lengths = {"valid_length": mx.nd.array([2, 4, 1])} if has_lengths else {}
    texts = [repr(cell)]
    cell.unroll(4, x, **options, **lengths)
    texts += [repr(cell), *_fill(mx, cell), *_named(cell._collect_params_with_prefix())]
    texts += [str(info) for info in cell.state_info(2)]
    x.attach_grad()
    with mx.autograd.record(train_mode=False):
        out, after = cell.unroll(4, x, **options, **lengths)
        joined = mx.nd.concat(*out, dim=0) if isinstance(out, list | tuple) else out
        loss = mx.nd.sum(joined * mx.nd.array(_numbers(joined.shape, 50)))
        for i, state in enumerate(after):
            loss = loss + mx.nd.sum(state * (i + 2))
    loss.backward()
    return {"texts": np.array(texts)} | _results(cell, x, out, after)
