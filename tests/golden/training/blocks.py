"""Blocks: names of parameters in every kind of scope, text, summaries, and files."""

import contextlib
import io

import numpy as np


def _net(mx, **kwargs):
    """A net of nested blocks, some named and some not."""
    gluon, nn = mx.gluon, mx.gluon.nn

    class Unit(gluon.HybridBlock):
        def __init__(self, channels, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.first = nn.Dense(channels, activation="relu")
                self.second = nn.Dense(channels, prefix="mine_", use_bias=False)
            self.outside = nn.Dense(2)
            self.scale = self.params.get("scale", shape=(1,), init="ones", lr_mult=2)

        def hybrid_forward(self, F, x, scale):
            return F.broadcast_mul(self.second(self.first(x)), scale) + self.outside(x).sum()

    class Net(gluon.Block):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.units = nn.Sequential()
                self.units.add(Unit(3), Unit(4, prefix=""), nn.Dropout(0.5))
                self.tail = nn.HybridSequential(prefix="tail_")
                with self.tail.name_scope():
                    self.tail.add(nn.Dense(5), nn.Dense(2, flatten=False), nn.Activation("tanh"))

        def forward(self, x):
            return self.tail(self.units(x))

    return Net(**kwargs)


def _printed(function, *args) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function(*args)
    return out.getvalue()


def answers(mx) -> dict[str, np.ndarray]:
    nn = mx.gluon.nn
    found = {}
    with mx.name.NameManager():  # counts from 0, whatever was made before
        net, other = _net(mx), _net(mx, prefix="other_")
        found["names"] = list(net.collect_params().keys())
        found["names.prefix"] = list(other.collect_params().keys())
        found["names.select"] = list(net.collect_params(".*dense0_weight|.*bias").keys())
        found["names.own"] = list(net.units[0].params.keys())
        found["names.file"] = list(net._collect_params_with_prefix())
        found["blocks"] = []
        net.apply(lambda block: found["blocks"].append(f"{block.name} {block.prefix}"))
        dense = nn.Dense(4)
        shared = nn.Dense(4, params=dense.params)
        found["names.shared"] = [
            *dense.collect_params().keys(),
            *shared.collect_params().keys(),
            shared.name,
        ]
        with mx.name.Prefix("outer_"):
            found["names.manager"] = list(nn.Dense(2).collect_params().keys())
    found["text"] = repr(net)
    net.initialize(mx.init.One())
    x = mx.nd.array(np.arange(6).reshape(2, 3))
    found["result"] = net(x).asnumpy()
    found["text.after"] = repr(net)
    found["summary"] = _printed(net.summary, x)  # of the first call, MXNet shows its symbols too
    found["slice"] = repr(net.tail[1:]), repr(net.tail[-1]), str(len(net.tail))
    return {name: np.asarray(value) for name, value in found.items()}
