"""Initializers: deciles of random weights, the values of others, and descriptions in JSON."""

import numpy as np

#: Random ones, by arguments, and the shapes that they fill.
RANDOM = [
    ("Uniform", {}, (128, 256)),
    ("Uniform", {"scale": 0.5}, (128, 256)),
    ("Normal", {}, (128, 256)),
    ("Normal", {"sigma": 2.0}, (128, 256)),
    ("Orthogonal", {}, (128, 256)),
    ("Orthogonal", {"scale": 1.0, "rand_type": "normal"}, (256, 16, 2, 2)),
    ("Xavier", {}, (64, 32, 4, 4)),
    ("Xavier", {"factor_type": "in", "magnitude": 2.34}, (256, 128)),
    ("Xavier", {"factor_type": "out", "rnd_type": "gaussian"}, (64, 32, 16)),
    ("MSRAPrelu", {}, (128, 256)),
    ("MSRAPrelu", {"factor_type": "in", "slope": 0.1}, (64, 32, 4, 4)),
]
FIXED = [
    ("Zero", {}, (2, 3)),
    ("One", {}, (2, 3)),
    ("Constant", {"value": 1.5}, (2, 3)),
    ("Bilinear", {}, (2, 3, 4, 4)),
    ("Bilinear", {}, (1, 1, 3, 5)),
    ("LSTMBias", {"forget_bias": 2.0}, (12,)),
]
#: FusedRNN of 3 hidden units: mode, layers, both ways, inputs.
RNNS = [("lstm", 2, True, 5), ("gru", 1, False, 4), ("rnn_tanh", 2, False, 2)]
NAMES = ["dense_weight", "dense_bias", "norm_gamma", "norm_beta", "quantized_min", "quantized_max"]


def answers(mx) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    desc = mx.init.InitDesc("weight")
    for i, (name, arguments, shape) in enumerate(RANDOM):
        init = getattr(mx.init, name)(**arguments)
        weight = mx.nd.zeros(shape)
        init(desc, weight)
        found[f"random{i}.deciles"] = np.quantile(weight.asnumpy(), np.arange(11) / 10)
        found[f"random{i}.dumps"] = np.array(init.dumps())
    for i, (name, arguments, shape) in enumerate(FIXED):
        init = mx.init.create(name.upper(), **arguments)
        weight = mx.nd.full(shape, 7)
        init(desc, weight)
        found[f"fixed{i}"] = weight.asnumpy()
        found[f"fixed{i}.dumps"] = np.array(init.dumps())
    for i, rnn in enumerate(RNNS):
        found[f"rnn{i}"] = _rnn(mx, *rnn)
    for name in NAMES:
        array = mx.nd.full((2,), 7)
        mx.init.Constant(3)(mx.init.InitDesc(name), array)
        found[name] = array.asnumpy()
    return found


def _rnn(mx, mode: str, layers: int, both: bool, inputs: int) -> np.ndarray:
    hidden, gates, ways = 3, {"lstm": 4, "gru": 3, "rnn_tanh": 1}[mode], 2 if both else 1
    sizes = [inputs] + [hidden * ways] * (layers - 1)
    count = sum(ways * gates * hidden * (n + hidden + 2) for n in sizes)

    class OfName(mx.init.Initializer):
        """A number that depends on the name."""

        def _init_weight(self, name, arr):
            arr[:] = sum((i + 1) * ord(c) for i, c in enumerate(name))

        _init_bias = _init_weight

    parameters = mx.nd.zeros((count,))
    init = mx.init.FusedRNN(None, hidden, layers, mode, both, forget_bias=9.0)
    init(mx.init.InitDesc("rnn_weight", global_init=OfName()), parameters)
    return parameters.asnumpy()
