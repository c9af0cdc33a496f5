"""Replays by command buffers: the same bits as launch by launch, whatever changes in between."""

import gc
import logging
import threading
from types import SimpleNamespace

import numpy as np
import pyopencl as cl
import pytest

import clgrad as mx
from clgrad import autograd, config, nd
from clgrad.device import current_context, extensions
from clgrad.errors import DeviceError
from clgrad.graph import command_buffer
from clgrad.graph.command_buffer import LONGEST, SHORTEST, CommandBuffer, runs

needs = pytest.mark.requires("command_buffers")


@pytest.fixture(autouse=True)
def by_command_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where launches one by one are faster."""
    monkeypatch.setenv("CLGRAD_COMMAND_BUFFERS", "1")


class Spy:
    """Counts the command buffers that are made and enqueued."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.made, self.enqueued = 0, 0
        make, enqueue = CommandBuffer.__init__, CommandBuffer.enqueue

        def noted_make(self_, *args):
            self.made += 1
            make(self_, *args)

        def noted_enqueue(self_):
            self.enqueued += 1
            enqueue(self_)

        monkeypatch.setattr(CommandBuffer, "__init__", noted_make)
        monkeypatch.setattr(CommandBuffer, "enqueue", noted_enqueue)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def train(steps: int, fuse: bool = True, between=lambda number, step, x: None) -> list[np.ndarray]:
    """Losses, gradients and parameters of some steps: arguments, numbers and random draws change."""
    rng = np.random.default_rng(0)
    mx.random.seed(7)
    parameters = [nd.array(rng.standard_normal((8, 8)).astype("float32") / 3) for _ in range(4)]
    momenta = [nd.zeros((8, 8)) for _ in parameters]
    for parameter in parameters:
        parameter.attach_grad()

    @mx.capture(fuse=fuse)
    def step(x, lr):
        with autograd.record():
            h = x
            for parameter in parameters:
                h = nd.Dropout(nd.tanh(nd.LayerNorm(nd.dot(h, parameter), nd.ones(8), nd.zeros(8))), 0.2)
            loss = (h * h).sum()
        loss.backward()
        for parameter, momentum in zip(parameters, momenta, strict=True):
            nd.sgd_mom_update(parameter, parameter.grad, momentum, lr=lr, momentum=0.9, out=parameter)
        return loss

    results = []
    for number in range(steps):
        x = nd.array(rng.standard_normal((9, 8)).astype("float32"))
        between(number, step, x)
        results.append(step(x[number % 2 : 8 + number % 2], 0.1 / (number + 1)).asnumpy())
    return results + [a.asnumpy() for p in parameters for a in (p, p.grad)]


def one_by_one(monkeypatch: pytest.MonkeyPatch, *args, **options) -> list[np.ndarray]:
    """The same without command buffers."""
    with monkeypatch.context() as patch:
        patch.setenv("CLGRAD_COMMAND_BUFFERS", "0")
        return train(*args, **options)


def assert_same(some: list[np.ndarray], others: list[np.ndarray]) -> None:
    for a, b in zip(some, others, strict=True):
        np.testing.assert_array_equal(a, b)


@needs
@pytest.mark.parametrize("fuse", [False, True])
def test_the_same_bits_as_launch_by_launch(monkeypatch, spy, fuse):
    expected = one_by_one(monkeypatch, 8, fuse)
    assert not spy.made
    assert_same(train(8, fuse), expected)
    assert spy.made
    assert spy.enqueued >= 3 * spy.made


@needs
def test_arrays_that_move_in_between(monkeypatch, spy):
    """Eager work exchanges the memory of gradients, which the command buffers have as arguments."""

    def eager(number, step, x):
        if number in (6, 7, 12):
            step.function(x[:8], 0.01)

    expected = one_by_one(monkeypatch, 20, between=eager)
    once = spy.made
    assert_same(train(20, between=eager), expected)
    assert not once
    assert spy.enqueued > spy.made > 1


@needs
def test_a_profile_sees_each_launch(monkeypatch, spy, launches):
    expected = one_by_one(monkeypatch, 6)
    seen = list(launches)
    launches.clear()
    assert_same(train(6), expected)
    assert launches == seen
    assert not spy.made


@needs
@pytest.mark.parametrize("fails", ["clCreateCommandBufferKHR", "clCommandNDRangeKernelKHR", "clEnqueue..."])
def test_a_runtime_that_refuses(monkeypatch, caplog, fails):
    """Launch by launch from then on, with the same results."""
    expected = one_by_one(monkeypatch, 8)
    functions = extensions.command_buffer_functions(current_context().device.cl_device.platform)

    def create(number, queues, properties, status):
        status._obj.value = -6

    if fails.startswith("clCreate"):
        monkeypatch.setattr(functions, "CreateCommandBuffer", create)
    elif fails.startswith("clCommand"):
        monkeypatch.setattr(functions, "CommandNDRangeKernel", lambda *args: -6)
    else:
        monkeypatch.setattr(functions, "EnqueueCommandBuffer", lambda *args: -6)
    with caplog.at_level(logging.WARNING):
        assert_same(train(8), expected)
    assert len(caplog.records) == 1
    assert "no command buffers" in caplog.text
    assert "status -6" in caplog.text


@needs
def test_release(monkeypatch):
    """When nobody needs them any more; not in a forked child, where that could hang."""
    functions = extensions.command_buffer_functions(current_context().device.cl_device.platform)
    released = []
    release = functions.ReleaseCommandBuffer
    monkeypatch.setattr(functions, "ReleaseCommandBuffer", lambda handle: released.append(release(handle)))
    train(6)
    gc.collect()
    assert released
    assert not any(released)
    commands = CommandBuffer.__new__(CommandBuffer)
    commands._handle, commands._process, commands._getpid = 1, -1, lambda: 1
    commands._functions = functions
    count = len(released)
    del commands
    assert len(released) == count


@needs
def test_threads(monkeypatch):
    expected = one_by_one(monkeypatch, 6)
    found: list = []

    def work():
        w = nd.ones((8, 8))

        @mx.capture(fuse=False)
        def f(x):
            y = nd.dot(x, w)
            for _ in range(4):
                y = nd.tanh(nd.dot(y, w))
            return y

        found.append([f(nd.full((8, 8), n % 2)).asnumpy() for n in range(8)])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert_same(train(6), expected)
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for results in found:
        assert_same(results, found[0])


@pytest.mark.once
@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([("cl_khr_command_buffer", 1 << 22)], True),
        ([("cl_khr_command_buffer", 9 << 12)], False),
        ([("cl_khr_command_buffer", 2 << 22)], False),
        ([("cl_khr_fp16", 1 << 22)], False),
        (None, False),
    ],
)
def test_versions_of_the_extension(versions, expected):
    class Device:
        extensions = "cl_khr_fp16 cl_khr_command_buffer"

        @property
        def extensions_with_version(self):
            if versions is None:
                raise cl.LogicError("clGetDeviceInfo failed: INVALID_VALUE")
            return [SimpleNamespace(name=name, version=version) for name, version in versions]

    assert extensions.has_command_buffers(Device()) == expected  # type: ignore[arg-type]
    Device.extensions = "cl_khr_fp16"
    assert not extensions.has_command_buffers(Device())  # type: ignore[arg-type]


@pytest.mark.once
@pytest.mark.parametrize("setting", ["", "0", "1"])
@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("has", [False, True])
def test_when_they_are_used(monkeypatch, setting, is_slow, has):
    monkeypatch.setenv("CLGRAD_COMMAND_BUFFERS", setting)
    device = SimpleNamespace(
        capabilities=SimpleNamespace(command_buffers=has),
        quirks=SimpleNamespace(slow_command_buffers=is_slow),
    )
    assert command_buffer.wanted(device) == (has and {"": not is_slow, "0": False, "1": True}[setting])


@pytest.mark.once
def test_a_setting_that_cannot_be_read(monkeypatch):
    monkeypatch.setenv("CLGRAD_COMMAND_BUFFERS", "yes")
    with pytest.raises(DeviceError, match="CLGRAD_COMMAND_BUFFERS: cannot read 'yes'; accepted are"):
        config.command_buffers()


@pytest.mark.once
def test_a_platform_without_a_function_that_it_reports(monkeypatch):
    monkeypatch.setattr(extensions, "_address_finder", lambda: lambda platform, name: None)
    with pytest.raises(DeviceError, match="has no clCreateCommandBufferKHR"):
        extensions.CommandBufferFunctions(current_context().device.cl_device.platform)


@pytest.mark.once
def test_which_launches_are_enqueued_together():
    def work(fixed: str, launches: int = 1) -> list:
        return [SimpleNamespace(is_fixed=c == "f", launches=launches) for c in fixed]

    def found(work: list) -> list:
        return [(fits, len(run)) for fits, run in runs(work)]

    few = SHORTEST - 1
    assert found(work("f" * few + "c" + "f" * SHORTEST + "cc")) == [
        (False, few),
        (False, 1),
        (True, SHORTEST),
        (False, 2),
    ]
    assert found(work("f" * (LONGEST + 1))) == [(True, LONGEST), (False, 1)]
    assert found(work("f", SHORTEST)) == [(True, 1)]
    assert command_buffer.LONGEST <= mx.memory.LAUNCHES_IN_FLIGHT
