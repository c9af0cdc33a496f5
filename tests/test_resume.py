"""Checkpoints: a killed and resumed run has the bits of an unbroken one; bad files change nothing."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, files, nd
from clgrad.errors import MXNetError, OperatorError, OperatorTypeError
from clgrad.gluon import data, nn
from clgrad.gluon.utils import Checkpoint

#: Trains with all that depends on chance or on the past, and prints the number of each step.
#: After step `sys.argv[2]` it waits to be killed, however late that comes.
PROGRAM = """
import random, signal, sys
import numpy as np
import clgrad as mx
from clgrad import autograd, gluon
from clgrad.gluon import data, nn

mx.random.seed(3); np.random.seed(4); random.seed(5)
x = np.random.uniform(-1, 1, (22, 6)).astype(np.float32)
net = nn.HybridSequential()
net.add(nn.Dense(8, activation="relu"), nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(3))
net.initialize(mx.init.Xavier())
net.hybridize()
net(mx.nd.zeros((1, 6)))
schedule = mx.lr_scheduler.FactorScheduler(step=3, factor=0.9, base_lr=0.05)
trainer = gluon.Trainer(net.collect_params(), "adam", {"lr_scheduler": schedule, "wd": 0.01})
loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
loader = data.DataLoader(
    data.ArrayDataset(x, (x[:, 0] > 0).astype(np.int32)), 4, shuffle=True, last_batch="rollover",
    num_workers=1,
)
average = mx.nd.zeros((6,))
checkpoint = gluon.utils.Checkpoint(sys.argv[1], net=net, trainer=trainer, loader=loader, average=average)
progress = checkpoint.load() or {"epoch": 0, "step": 0}
step = progress["step"]
last = int(sys.argv[2])
for epoch in range(progress["epoch"], 4):
    for images, labels in loader:
        scale = float(np.random.normal() + random.gauss(0, 1))
        images = images + scale * mx.nd.random.normal(shape=images.shape)
        with autograd.record():
            loss = loss_of(net(images), labels)
        loss.backward()
        trainer.step(4)
        average[:] = 0.9 * average + 0.1 * images.mean(axis=0)
        step += 1
        checkpoint.save(epoch=epoch, step=step)
        print(step, flush=True)
        if step == last:
            signal.pause()
print("done", flush=True)
"""


def start(folder, path, last=-1) -> subprocess.Popen:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, program, path, str(last)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.once
@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_bits_of_an_unbroken_one(tmp_path, rng):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with start(tmp_path, whole) as process:
        assert process.communicate()[0].split()[-2:] == ["22", "done"]
    kills = 0
    for at in (4, 13):
        with start(tmp_path, broken, last=at + 3) as process:
            for line in process.stdout:
                if line == f"{at}\n":
                    time.sleep(rng.uniform(0, 0.03))  # in a step, or while the file is written
                    process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    with start(tmp_path, broken) as process:
        steps = process.communicate()[0].split()
    assert 14 <= int(steps[0]) <= 17  # after the second kill: of step 13 and at most 3 more
    assert broken.read_bytes() == whole.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"broken", "program.py", "whole"}


def net_and_trainer():
    net = nn.Dense(2, in_units=3)
    net.initialize()
    return net, mx.gluon.Trainer(net.collect_params(), "adam")


def train(net, trainer) -> None:
    with autograd.record():
        loss = net(nd.ones((2, 3))).sum()
    loss.backward()
    trainer.step(2)


@pytest.mark.once
def test_a_file_that_does_not_fit_changes_nothing(tmp_path):
    path = tmp_path / "run"
    loader = data.DataLoader(list(range(6)), 2, shuffle=True)
    net, trainer = net_and_trainer()
    train(net, trainer)
    checkpoint = Checkpoint(path, net=net, trainer=trainer, loader=loader, x=nd.ones(3))
    assert checkpoint.load() is None
    checkpoint.save(epoch=1)
    good = path.read_bytes()

    other, own_trainer = net_and_trainer()
    small = nn.Dense(2, in_units=4)
    small.initialize()
    array = nd.zeros(3)
    fitting = {"net": other, "trainer": own_trainer, "loader": loader, "x": array}
    momentum = mx.gluon.Trainer(other.collect_params(), "nag")
    before = other.weight.data().asnumpy(), mx.random.get_state(), random.getstate()
    for parts, complaint in (
        ({"net": other}, "is of loader, net, random, trainer, x; accepted: net, random"),
        (fitting | {"net": small}, r"net: .*shape \(2, 4\), and the saved array \(2, 3\)"),
        (fitting | {"net": nn.Sequential()}, "net: parameters are weight, bias; here are none"),
        (fitting | {"trainer": momentum}, "trainer: .* are of Adam; accepted: NAG"),
        (fitting | {"x": nd.zeros(4)}, r"x: the array is float32 \(3,\); here it is float32 \(4,\)"),
    ):
        with pytest.raises(MXNetError, match=complaint):
            Checkpoint(path, **parts).load()
    for damaged in (good[:-1], good[: len(good) // 2], b"", good.replace(b'"progress"', b'"progresS"'),
                    good.replace(b'"done"', b'"dome"'), good.replace(b'"python"', b'"pythom"'),
                    good.replace(b"clgrad checkpoint 1", b"clgrad checkpoint 9")):  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(MXNetError, match="run"):
            Checkpoint(path, **fitting).load()
    nd.save(path, [nd.ones(2)])
    with pytest.raises(MXNetError, match="is no checkpoint"):
        Checkpoint(path, **fitting).load()
    np.testing.assert_array_equal(other.weight.data().asnumpy(), before[0])
    assert (mx.random.get_state(), random.getstate()) == before[1:]
    assert not array.asnumpy().any()

    path.write_bytes(good)
    assert Checkpoint(path, **fitting).load() == {"epoch": 1}
    np.testing.assert_array_equal(other.weight.data().asnumpy(), net.weight.data().asnumpy())
    assert array.asnumpy().all()
    train(net, trainer)
    train(other, own_trainer)
    np.testing.assert_array_equal(other.weight.data().asnumpy(), net.weight.data().asnumpy())


@pytest.mark.once
def test_what_cannot_be_saved_leaves_the_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "run"
    checkpoint = Checkpoint(path, x=nd.ones(2))
    checkpoint.save(step=1)
    good = path.read_bytes()
    with pytest.raises(OperatorTypeError, match="set is not JSON serializable"):
        checkpoint.save(step={1})
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.close(-1))
    with pytest.raises(OSError, match="Bad file descriptor"):
        checkpoint.save(step=2)
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OperatorTypeError, match="x is int; accepted: Block"):
        Checkpoint(path, x=5)
    with pytest.raises(OperatorError, match="named 'random'"):
        Checkpoint(path, random=nd.ones(2))


@pytest.mark.once
@pytest.mark.skipif(os.name != "posix", reason="asks which processes there are")
def test_leftovers_of_killed_processes_are_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    gone = tmp_path / f".run.{process.pid}.0123abcd"
    kept = [
        tmp_path / name
        for name in (f".run.{os.getpid()}.0123abcd", f".other.{process.pid}.0123abcd", "run")
    ]
    for path in (gone, *kept):
        path.write_bytes(b"")
    files.remove_leftovers(tmp_path / "run")
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    files.remove_leftovers(tmp_path / "no such folder" / "run")


def test_random_states():
    mx.random.seed(7)
    nd.random.uniform(shape=(3,))
    state = mx.random.get_state()
    expected = nd.random.normal(shape=(5,)).asnumpy()
    mx.random.seed(8)
    mx.random.set_state(state)
    np.testing.assert_array_equal(nd.random.normal(shape=(5,)).asnumpy(), expected)
    for damaged in ({}, {"seed": 1, "devices": {"cpu": [1]}}, {"seed": "x", "devices": {}}, None):
        with pytest.raises(OperatorError, match="state is damaged"):
            mx.random.set_state(damaged)


@pytest.mark.once
def test_the_page_of_the_documentation_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    page = Path(__file__).parents[1] / "docs" / "data.md"
    first, second = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M)
    names: dict = {"__name__": "data_page"}
    exec(compile(first, str(page), "exec"), names)
    assert capsys.readouterr().out.startswith("(16, 1, 28, 28) (16,)")
    exec(compile(second, str(page), "exec"), names)
    assert names["checkpoint"].load() == {"epoch": 2, "step": 10}
