"""The program cache: memory, disk, corruption, concurrency, dumps, and build failures."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

import clgrad as mx
from clgrad import memory
from clgrad.bounded import Bounded
from clgrad.device import current_context
from clgrad.errors import KernelError
from clgrad.kernels import program, template

SOURCE = """
__kernel void answer(__global int *y, const ulong y_offset) { y[y_offset] = %d; }
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A disk cache of this test's own, whatever the runtime has, and a memory cache without entries."""
    device = current_context().device
    monkeypatch.setattr(device, "quirks", replace(device.quirks, caches_programs=False))
    monkeypatch.setenv("CLGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(program, "_programs", {})
    return tmp_path


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def build(source=SOURCE % 1):
    return program.kernel(current_context().device, "answer", source)


def test_caches_in_memory_are_bounded():
    """Shapes that never repeat must not fill the memory: a program takes up to 3 MB."""
    cache = Bounded(4)
    for number in range(5):
        cache[number] = str(number)
    assert cache == {2: "2", 3: "3", 4: "4"}
    cache[5] = "5"
    cache[3] = "again"
    assert cache == {2: "2", 3: "again", 4: "4", 5: "5"}


def test_streams_keep_a_bounded_number_of_plans(monkeypatch):
    """And an op whose plan was let go of plans anew."""
    stream = memory.current_stream(current_context().device)
    monkeypatch.setattr(stream, "plans", Bounded(8))
    for size in range(1, 20):
        assert (mx.nd.ones(size) + 1).asnumpy().tolist() == [2] * size
        assert len(stream.plans) <= 8
    assert (mx.nd.ones(1) + 1).asnumpy().tolist() == [2]


def test_a_program_is_built_once_and_kernels_are_not_shared(cache):
    """Kernel objects hold arguments: sharing one between two plans would mix them up."""
    first, second = build(), build()
    assert len(program._programs) == 1
    assert first is not second


def test_the_disk_cache_serves_the_next_process(cache, monkeypatch):
    """A second process that compiles again is a cache that does not work."""
    build()
    assert len(entries(cache)) == 1
    monkeypatch.setattr(program, "_programs", {})
    monkeypatch.setattr(program, "_build", lambda *args: pytest.fail("compiled again"))
    build()


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 5000])
def test_a_corrupt_entry_is_rebuilt(cache, monkeypatch, damage):
    """A truncated or foreign file must cost a build, never a crash or a wrong kernel."""
    build()
    (entry,) = entries(cache)
    good = entry.read_bytes()
    entry.write_bytes(damage)
    monkeypatch.setattr(program, "_programs", {})
    build()
    assert entry.read_bytes()[:32] == good[:32] or len(entry.read_bytes()) > len(damage)


def test_a_flipped_bit_fails_the_checksum(cache, monkeypatch):
    """Drivers crash on binaries that are almost right."""
    build()
    (entry,) = entries(cache)
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)
    monkeypatch.setattr(program, "_programs", {})
    assert program._load(current_context().device, SOURCE % 1) is None


def test_sources_do_not_collide(cache):
    """Two sources under one key would run one kernel for the other."""
    build(SOURCE % 1)
    build(SOURCE % 2)
    assert len(entries(cache)) == 2


def test_no_disk_cache_when_it_is_turned_off(cache, monkeypatch):
    monkeypatch.setenv("CLGRAD_CACHE_DIR", "")
    build()
    assert entries(cache) == []


def test_an_unwritable_cache_does_not_stop_the_work(cache, monkeypatch):
    """A read-only home must not keep anybody from computing."""
    (cache / "file").write_text("")
    monkeypatch.setenv("CLGRAD_CACHE_DIR", str(cache / "file"))
    build()


def test_processes_share_the_cache_safely(tmp_path):
    """Concurrent writers of one entry: rename must leave a whole file, whoever wins."""
    script = (
        "import clgrad as mx, numpy as np\n"
        "x = mx.nd.array(np.arange(5)); assert float((x * 3 + 1).sum().asscalar()) == 35\n"
    )
    environment = {**os.environ, "CLGRAD_CACHE_DIR": str(tmp_path)}
    workers = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(4)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0, 0, 0]
    assert not [path for path in entries(tmp_path) if path.name.startswith("tmp")]


def test_a_runtime_with_a_cache_of_its_own_is_left_to_it(cache, monkeypatch):
    """Asking PoCL for a binary makes it compile a second time, for nothing."""
    device = current_context().device
    monkeypatch.setattr(device, "quirks", replace(device.quirks, caches_programs=True))
    build()
    assert entries(cache) == []


@pytest.mark.parametrize("place", ["folder", "file", ""])
def test_processes_start_with_any_cache_folder(tmp_path, place):
    """PoCL has no devices where it cannot write its cache."""
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / place) if place else ""
    script = "import clgrad as mx; print(mx.nd.ones(1).asnumpy(), mx.current_context().device.name)"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("POCL_")}
    environment["CLGRAD_CACHE_DIR"] = folder
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "[1.]"
    if place == "folder":
        ours = [p for p in entries(tmp_path / place) if not p.is_relative_to(tmp_path / place / "pocl")]
        assert bool(ours) is not current_context().device.quirks.caches_programs


def test_every_source_is_dumped_on_request(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CLGRAD_DUMP_KERNELS", str(tmp_path / "dump"))
    build()
    (dumped,) = (tmp_path / "dump").iterdir()
    assert dumped.name.startswith("answer_")
    assert dumped.read_text() == SOURCE % 1


@pytest.mark.once
def test_kernels_of_lone_work_items_are_marked():
    """Each kernel of a source, those with attributes of their own too; not what only looks like one."""
    source = "// __kernel\n__kernel void a() {}\n__kernel __attribute__((hint(1)))\nvoid b() {}"
    lines = program.one_by_one(source).splitlines()
    assert [i for i, line in enumerate(lines) if "vec_type_hint" in line] == [1, 3]
    assert [line for line in lines if "vec_type_hint" not in line] == source.splitlines()


def test_a_build_failure_shows_source_options_and_log(cache):
    """Without these, nobody can mend a kernel on a device that we do not have."""
    with pytest.raises(KernelError) as caught:
        program.kernel(current_context().device, "wrong", "__kernel void wrong() { undeclared = 1; }")
    message = str(caught.value)
    assert "kernel wrong does not build" in message
    assert "options:" in message
    assert "undeclared = 1;" in message
    assert message.count("undeclared") >= 2, "the compiler's own message is missing"


def test_an_undefined_name_in_a_template_is_an_error():
    """Lenient rendering would put 'UNDEFINED' into a kernel."""
    with pytest.raises(KernelError, match=r"map\.cl\.mako does not render"):
        template.render("map", name="x")


def test_forgotten_programs_are_dumped_again(cache, tmp_path_factory, monkeypatch):
    """The pages of docs/site show the kernels of each op, also those that were built before."""
    build()
    folder = tmp_path_factory.mktemp("dump")
    monkeypatch.setenv("CLGRAD_DUMP_KERNELS", str(folder))
    build()
    assert entries(folder) == []
    program.forget()
    build()
    assert len(entries(folder)) == 1
