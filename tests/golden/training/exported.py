"""Nets that go through files of graph and parameters, from each program to the other.

``files/here-symbol.json`` and ``files/here-0000.params`` are written by clgrad, and read by MXNet when it
is recorded; what MXNet writes is kept with its answers. To write ours anew, before recording:

    cd tests && python -m golden.training.exported
"""

import tempfile
from pathlib import Path

import numpy as np

from golden.training import FOLDER

FILES = FOLDER.parent / "files"
INPUTS = ("data0", "data1")


def inputs(mx) -> list:
    """An image and indices."""
    host = np.random.RandomState(7).uniform(0, 1, (2, 3, 4, 4)).astype(np.float32)
    return [mx.nd.array(host), mx.nd.array([1, 3])]


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

    with mx.name.NameManager():
        return Net(prefix="net_")


def fill(mx, block) -> None:
    """Give parameters numbers that do not depend on the program."""
    for i, (name, parameter) in enumerate(sorted(block.collect_params().items())):
        host = np.random.RandomState(i).uniform(-1, 1, parameter.shape).astype(np.float32)
        if not name.endswith("table"):
            parameter.set_data(mx.nd.array(np.abs(host) + 0.5 if name.endswith("var") else host))


def made(mx, folder: Path):
    """The net, having run, and its files in a folder."""
    block = net(mx)
    block.initialize()
    block(*inputs(mx))
    fill(mx, block)
    block.hybridize()
    block(*inputs(mx))
    block.export(str(folder / "here"))
    return block


def imported(mx, folder: Path):
    """The net of the files in a folder."""
    paths = [str(folder / name) for name in ("here-symbol.json", "here-0000.params")]
    return mx.gluon.SymbolBlock.imports(paths[0], list(INPUTS), paths[1])


def results(mx, block) -> dict[str, np.ndarray]:
    """What a block gives, and gradients behind its batch normalisation (before it, MXNet's are wrong)."""
    with mx.autograd.record(train_mode=False):
        outputs = block(*inputs(mx))
        total = sum(y.sum() for y in outputs)
    total.backward()
    found = {f"y{i}": y.asnumpy() for i, y in enumerate(outputs)}
    for name, parameter in block.collect_params(".*dense|.*gain|.*embedding").items():
        found[f"d_{name}"] = parameter.grad().asnumpy()
    return found


def answers(mx) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        block = made(mx, Path(folder))
        found = {f"own.{key}": value for key, value in results(mx, block).items()}
        for path in sorted(Path(folder).iterdir()):
            found[path.name] = np.frombuffer(path.read_bytes(), np.uint8)
    other = imported(mx, FILES)
    found["names"] = np.array(list(other.collect_params().keys()))
    return found | {f"here.{key}": value for key, value in results(mx, other).items()}


if __name__ == "__main__":
    import clgrad

    made(clgrad, FILES)
