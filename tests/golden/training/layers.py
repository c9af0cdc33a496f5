"""Layers: text, parameters, results in training and in prediction, and gradients."""

import inspect

import numpy as np

#: Layers by name and arguments, with the shape of their input; where a name comes twice, so does the layer.
CASES = [
    ("Dense", {"units": 4, "activation": "tanh"}, (3, 2, 5)),
    ("Dense", {"units": 4, "use_bias": False, "flatten": False}, (3, 2, 5)),
    ("Flatten", {}, (2, 3, 2)),
    ("Activation", {"activation": "softrelu"}, (2, 3)),
    ("LeakyReLU", {"alpha": 0.3}, (2, 3)),
    ("PReLU", {"in_channels": 3}, (2, 3, 2)),
    ("PReLU", {}, (2, 3, 2)),
    ("ELU", {"alpha": 1.5}, (2, 3)),
    ("GELU", {}, (2, 3)),
    ("Swish", {"beta": 2.0}, (2, 3)),
    ("Conv1D", {"channels": 4, "kernel_size": 3, "strides": 2, "padding": 1, "use_bias": False}, (2, 3, 8)),
    (
        "Conv2D",
        {"channels": 4, "kernel_size": (3, 2), "padding": (1, 0), "activation": "relu"},
        (2, 3, 5, 6),
    ),
    ("Conv2D", {"channels": 6, "kernel_size": 3, "dilation": 2, "groups": 3}, (2, 3, 7, 6)),
    ("Conv3D", {"channels": 2, "kernel_size": 2}, (1, 3, 3, 4, 3)),
    ("Conv1DTranspose", {"channels": 4, "kernel_size": 3, "strides": 2, "output_padding": 1}, (2, 3, 5)),
    (
        "Conv2DTranspose",
        {"channels": 4, "kernel_size": 4, "strides": 2, "padding": 1, "groups": 2, "in_channels": 6},
        (2, 6, 3, 4),
    ),
    (
        "Conv3DTranspose",
        {"channels": 2, "kernel_size": 2, "strides": 2, "use_bias": False},
        (1, 3, 2, 3, 2),
    ),
    ("MaxPool1D", {"ceil_mode": True}, (2, 3, 7)),
    ("MaxPool2D", {"pool_size": 3, "strides": 2, "padding": 1}, (2, 3, 6, 7)),
    ("MaxPool3D", {"strides": (1, 2, 2)}, (1, 2, 3, 4, 5)),
    ("AvgPool1D", {"padding": 1, "count_include_pad": False}, (2, 3, 7)),
    ("AvgPool2D", {"pool_size": (2, 3), "strides": 2, "padding": 1, "ceil_mode": True}, (2, 3, 6, 6)),
    ("AvgPool3D", {}, (1, 2, 4, 4, 5)),
    ("GlobalMaxPool1D", {}, (2, 3, 4)),
    ("GlobalMaxPool2D", {}, (2, 3, 4, 2)),
    ("GlobalMaxPool3D", {}, (2, 3, 2, 2, 2)),
    ("GlobalAvgPool1D", {}, (2, 3, 4)),
    ("GlobalAvgPool2D", {}, (2, 3, 4, 2)),
    ("GlobalAvgPool3D", {}, (2, 3, 2, 2, 2)),
    ("ReflectionPad2D", {"padding": 2}, (1, 2, 3, 4)),
    ("BatchNorm", {}, (4, 3, 5)),
    ("BatchNorm", {"axis": -1, "scale": False, "momentum": 0.6}, (4, 3, 5)),
    ("BatchNorm", {"center": False, "epsilon": 0.1}, (4, 3)),
    ("BatchNorm", {"use_global_stats": True}, (4, 3, 5)),
    ("BatchNorm", {"use_global_stats": True, "scale": False, "center": False}, (4, 3)),
    ("LayerNorm", {}, (4, 3, 5)),
    ("LayerNorm", {"axis": 1, "center": False, "scale": False, "epsilon": 0.1}, (4, 3, 5)),
    ("InstanceNorm", {}, (4, 3, 5)),
    ("InstanceNorm", {"axis": 2, "scale": True, "epsilon": 0.1}, (4, 3, 5)),
    ("GroupNorm", {"num_groups": 2}, (3, 4, 5)),
    ("Dropout", {"rate": 0}, (2, 3)),
    ("contrib.PixelShuffle1D", {"factor": 2}, (2, 6, 4)),
    ("contrib.PixelShuffle2D", {"factor": (2, 3)}, (2, 12, 2, 3)),
    ("contrib.PixelShuffle3D", {"factor": (2, 3, 2)}, (1, 24, 2, 1, 3)),
    ("Embedding", {"input_dim": 5, "output_dim": 3, "sparse_grad": False}, None),
]


#: Blocks below ``nn`` that are no layers, and a layer that takes no arguments here.
_NO_LAYERS = ("SymbolBlock", "SparseEmbedding")


def label(case: int) -> str:
    """A name for a case."""
    return f"{CASES[case][0]}{case}"


def _is_layer(mx, name: str, value) -> bool:
    is_block = inspect.isclass(value) and issubclass(value, mx.gluon.Block)
    return is_block and not name.startswith("_") and name not in _NO_LAYERS


def _signature(layer) -> str:
    """Names of the arguments of a layer, without those of every block."""
    names = [
        n for n in inspect.signature(layer).parameters if n not in ("prefix", "params", "kwargs", "args")
    ]
    return f"{layer.__name__} {' '.join(names)}"


def _numbers(shape, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype(np.float32)


def _make(mx, name: str, arguments: dict):
    space = mx.gluon.contrib.nn if name.startswith("contrib.") else mx.gluon.nn
    return getattr(space, name.split(".")[-1])(**arguments)


def _fill(mx, layer) -> None:
    for i, (name, parameter) in enumerate(layer.collect_params().items()):
        value = _numbers(parameter.shape, 100 + i)
        parameter.set_data(mx.nd.array(np.abs(value) + 0.5 if name.endswith("var") else value))


def answers(mx) -> dict[str, np.ndarray]:
    spaces = (mx.gluon.nn, mx.gluon.contrib.nn)
    layers = {n: v for space in spaces for n, v in vars(space).items() if _is_layer(mx, n, v)}
    found = {"signatures": np.array([_signature(layers[n]) for n in sorted(layers)])}
    for i, (name, arguments, shape) in enumerate(CASES):
        with mx.name.NameManager():
            layer = _make(mx, name, arguments)
        host = np.array([[0, 4], [2, 0]]) if shape is None else _numbers(shape, i)
        texts = [repr(layer)]
        layer.initialize()
        layer(mx.nd.array(host))  # tells the shapes
        parameters = layer.collect_params()
        texts += [repr(layer), *(f"{n} {p.shape} {p.grad_req}" for n, p in parameters.items())]
        _fill(mx, layer)
        x = mx.nd.array(host)
        if shape is not None:
            x.attach_grad()
        with mx.autograd.record():
            y = layer(x)
        y.backward(mx.nd.array(_numbers(y.shape, 50 + i)))
        if name == "BatchNorm":  # MXNet writes ones into gamma where it is not learned
            parameters = {
                n: p for n, p in parameters.items() if not n.endswith("gamma") or p.grad_req != "null"
            }
        kept = {"texts": np.array(texts), "y": y.asnumpy()}
        if shape is not None:
            kept["dx"] = x.grad.asnumpy()
        for n, p in parameters.items():
            kept[n] = (p.data() if p.grad_req == "null" else p.grad()).asnumpy()
        kept["predicted"] = layer(x).asnumpy()
        found |= {f"{label(i)}.{key}": value for key, value in kept.items()}
    return found
