"""What every test shares: a seed that can be replayed, and the device that the run is on."""

import gc
import random
import zlib

import hypothesis
import numpy as np
import pytest
from report import Table, report  # noqa: F401  (a fixture)

from clgrad import memory, nd
from clgrad.device import Context, current_context
from clgrad.errors import DeviceError
from clgrad.kernels import program

#: Plans and programs that a test process keeps: few tests share them, and thousands would fill the memory.
KEPT = 200

# The first call with new shapes may compile a kernel, so examples differ in time by nature.
hypothesis.settings.register_profile("clgrad", deadline=None)
hypothesis.settings.load_profile("clgrad")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed",
        type=int,
        help="seed of all random numbers (default: a new one each run, shown in the header)",
    )
    parser.addoption(
        "--dtypes",
        type=lambda text: text.split(","),
        metavar="NAME,NAME...",
        help="hold the table of ops against MXNet in these dtypes only (default: all)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.dtypes is None:
        return
    others = [
        i for i in items if i.path.name == "test_golden.py" and not _in_dtypes(i, config.option.dtypes)
    ]
    kept = set(items) - set(others)
    items[:] = [i for i in items if i in kept]
    config.hook.pytest_deselected(items=others)


def _in_dtypes(item: pytest.Item, dtypes: list[str]) -> bool:
    """Whether a test is of none or of one of these dtypes."""
    call = getattr(item, "callspec", None)
    return call is None or call.params.get("dtype", dtypes[0]) in dtypes


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Table(), "report of ops")
    memory.stream.PLANS_KEPT = program._programs.limit = KEPT
    # Set before pytest-xdist starts its workers, which get the options of this process.
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = config.option.seed


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"replay with: --seed={config.option.seed}", f"default device: {describe_device()}"]


def describe_device() -> str:
    try:
        context = current_context()
        device = context.device
    except DeviceError as error:
        return f"none. {error}"
    return f"{context}: {device.name}, {device.platform_name}, {device.platform_version}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("requires"):
        device = current_context().device
        for capability in mark.args:
            if not getattr(device.capabilities, capability):
                pytest.skip(f"{device.name} has no {capability}")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on the run's seed and on the test, not on the tests before it."""
    test = zlib.crc32(request.node.nodeid.encode())
    return np.random.default_rng([request.config.option.seed, test])


class _Launches(list):
    """Names of kernels that a stream enqueues, and how many arrays each stores (see memory.Observer)."""

    def begin(self, *_) -> None:
        pass

    def launched(self, stream, plan, step, views, event) -> None:
        self.append((step.kernel, len(plan.outputs)))

    def copied(self, *_) -> None:
        pass

    def beside(self) -> None:
        pass


@pytest.fixture
def reference_counting_only():
    """No garbage collector: memory that is freed was freed by reference counts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Names of the kernels that this thread launches from now on, and how many arrays each stores."""
    found = _Launches()
    monkeypatch.setattr(memory.current_stream(current_context().device), "observer", found)
    return found


@pytest.fixture
def stream() -> memory.Stream:
    """The test's stream on its device, on which nothing is under way."""
    nd.waitall()
    return memory.current_stream(current_context().device)


@pytest.fixture
def ctx() -> Context:
    """The context that arrays go to by default."""
    return current_context()
