"""Nets that go through files of graph and parameters, from each program to the other.

``files/NET-symbol.json`` and ``files/NET-0000.params`` are written by clgrad, and read by MXNet when it
is recorded; what MXNet writes is kept with its answers. To write ours anew, before recording:

    cd tests && python -m golden.training.exported
"""

import tempfile
from pathlib import Path

import numpy as np

from golden.training import FOLDER

FILES = FOLDER.parent / "files"
#: What the nets take.
INPUTS = {"here": ["data0", "data1"], "steps": ["data"]}


def inputs(mx, name: str) -> list:
    """An image and indices, or indices alone."""
    if name == "steps":
        return [mx.nd.array([[1, 3, 0, 2], [4, 4, 1, 0], [2, 0, 3, 1]])]
    host = np.random.RandomState(7).uniform(0, 1, (2, 3, 4, 4)).astype(np.float32)
    return [mx.nd.array(host), mx.nd.array([1, 3])]


def make(mx, name: str):
    """One of the nets."""
    with mx.name.NameManager():
        return net(mx) if name == "here" else recurrent_net(mx)


def recurrent_net(mx):
    """A net with recurrent layers that begin at zero, and a cell that is unrolled from a given state."""
    nn, rnn = mx.gluon.nn, mx.gluon.rnn

    class Net(mx.gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.embedding = nn.Embedding(5, 3)
                self.lstm = rnn.LSTM(4, num_layers=2, layout="NTC", bidirectional=True, input_size=3)
                self.cell = rnn.GRUCell(5, input_size=8)
                self.dense = nn.Dense(2, flatten=False)

        def hybrid_forward(self, F, x):
            y = self.lstm(self.embedding(x))
            first = F.slice_axis(F.mean(y, axis=1), axis=1, begin=0, end=5)
            y, (state,) = self.cell.unroll(4, y, begin_state=[first], merge_outputs=True)
            return self.dense(y), state

    return Net(prefix="net_")


def net(mx):
    """A net with layers of many kinds, with arithmetic, and with results of several outputs."""
    nn = mx.gluon.nn

    class Net(mx.gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.conv = nn.Conv2D(4, 3, padding=1, activation="relu")
                self.norm = nn.BatchNorm()
                self.pool = nn.AvgPool2D(ceil_mode=True, count_include_pad=False)
                self.up = nn.Conv2DTranspose(2, 2, strides=2, in_channels=4)
                self.dense = nn.HybridSequential()
                with self.dense.name_scope():
                    self.dense.add(nn.Dense(6, activation="tanh"), nn.Dropout(0.5), nn.Dense(3))
                self.rest = nn.HybridSequential()
                with self.rest.name_scope():
                    self.rest.add(nn.LayerNorm(), nn.PReLU(), nn.Swish(), nn.ELU(0.5))
                self.embedding = nn.Embedding(5, 3)
                self.gain = self.params.get("gain", shape=(1, 0), allow_deferred_init=True, init="ones")
                self.table = self.params.get_constant("table", np.float32([[1, 2, 3]]))

        def hybrid_forward(self, F, x, index, gain, table):
            x = self.up(self.pool(self.norm(self.conv(x))))
            x = self.rest(self.dense(x))
            x = F.elemwise_mul(F.slice_axis(x, axis=0, begin=0, end=1), gain) + table
            first, *others = F.split(self.embedding(index), num_outputs=3, axis=1)
            y = F.concat(x, F.tile(first, reps=(1, 3)), *[F.tile(o, reps=(1, 3)) for o in others], dim=0)
            y = 2 * y + 1 - y / (3 - y) - (1 - y) ** 2 + y * y
            y = F.where(y > 0, y, F.broadcast_mul(y, F.ones_like(y)))
            z = F.softmax(y.reshape((-1, 3)).transpose((1, 0)), axis=-1).sum(axis=1, keepdims=True)
            return y, F.maximum(z, 0.5), F.mean(F.stack(y, y, axis=0), axis=0)

    return Net(prefix="net_")


def fill(mx, block) -> None:
    """Give parameters numbers that do not depend on the program."""
    for i, (name, parameter) in enumerate(sorted(block.collect_params().items())):
        host = np.random.RandomState(i).uniform(-1, 1, parameter.shape).astype(np.float32)
        if not name.endswith("table"):
            parameter.set_data(mx.nd.array(np.abs(host) + 0.5 if name.endswith("var") else host))


def made(mx, name: str, folder: Path):
    """A net, having run, and its files in a folder."""
    block = make(mx, name)
    block.initialize()
    block(*inputs(mx, name))
    fill(mx, block)
    block.hybridize()
    block(*inputs(mx, name))
    block.export(str(folder / name))
    return block


def paths(name: str, folder: Path) -> list[Path]:
    """The files of a net."""
    return [folder / f"{name}-symbol.json", folder / f"{name}-0000.params"]


def imported(mx, name: str, folder: Path):
    """The net of the files in a folder."""
    graph, params = map(str, paths(name, folder))
    return mx.gluon.SymbolBlock.imports(graph, INPUTS[name], params)


def results(mx, name: str, block) -> dict[str, np.ndarray]:
    """What a block gives, and gradients behind its batch normalisation (before it, MXNet's are wrong)."""
    with mx.autograd.record(train_mode=False):
        outputs = block(*inputs(mx, name))
        total = sum(y.sum() for y in outputs)
    total.backward()
    found = {f"y{i}": y.asnumpy() for i, y in enumerate(outputs)}
    for key, parameter in block.collect_params(".*dense|.*gain|.*embedding|.*lstm|.*gru").items():
        found[f"d_{key}"] = parameter.grad().asnumpy()
    return found


def answers(mx) -> dict[str, np.ndarray]:
    found = {}
    for name in INPUTS:
        with tempfile.TemporaryDirectory() as folder:
            block = made(mx, name, Path(folder))
            kept = {f"own.{key}": value for key, value in results(mx, name, block).items()}
            for path in paths(name, Path(folder)):
                kept[path.suffix] = np.frombuffer(path.read_bytes(), np.uint8)
        other = imported(mx, name, FILES)
        kept["names"] = np.array(list(other.collect_params().keys()))
        kept |= {f"here.{key}": value for key, value in results(mx, name, other).items()}
        found |= {f"{name}.{key}": value for key, value in kept.items()}
    return found


if __name__ == "__main__":
    import clgrad

    for net_name in INPUTS:
        made(clgrad, net_name, FILES)
