"""Finding devices, their contexts, and what is mended on the way to them."""

import copy
import ctypes
import itertools
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import pyopencl as cl
import pytest

from clgrad import config
from clgrad.device import (
    Capabilities,
    Context,
    cpu,
    current_context,
    device,
    devices,
    discovery,
    gpu,
    gpu_memory_info,
    host,
    icd,
    num_gpus,
    pocl_wheel,
    quirks,
)
from clgrad.device import context as context_module
from clgrad.errors import DeviceError, MXNetError

ROOT = Path(__file__).parents[1]
ABOUT_OPENCL = ("CLGRAD_", "OCL_", "OPENCL_", "POCL_", "PYOPENCL_", "RUSTICL_", "LD_LIBRARY_PATH")
# The loader that pyopencl bundles looks for the PoCL wheel there, whatever OCL_ICD_VENDORS says.
HIDE_POCL_WHEEL = "import os, pyopencl; os.environ['PYOPENCL_HOME'] = os.environ['OCL_ICD_VENDORS']\n"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="drivers are files on Linux alone")


def has_package(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


needs_intel_wheel = pytest.mark.skipif(
    not has_package("intel-opencl-rt") or sys.platform != "linux", reason="needs intel-opencl-rt"
)
needs_pocl_wheel = pytest.mark.skipif(
    not has_package("pocl-binary-distribution") or sys.platform != "linux",
    reason="needs pocl-binary-distribution",
)


def start(code: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a new Python with no variables that concern OpenCL but those given."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(ABOUT_OPENCL)}
    env["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", textwrap.dedent(code)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env | environment, stdout=pipe, stderr=pipe, text=True)


def run(code: str, **environment: str) -> str:
    """What ``code`` prints in a new Python; a failure if it fails, or hangs."""
    process = start(code, **environment)
    try:
        output, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"hangs: {code}")
    assert process.returncode == 0, errors
    return output.strip()


class TestStart:
    @linux_only
    def test_import_starts_no_opencl(self):
        output = run("""
            import os
            from pathlib import Path
            import clgrad.device
            from clgrad.device import devices, icd

            names = [os.path.basename(driver.library) for driver in icd.installed_drivers()]
            def loaded():
                return any(name in Path("/proc/self/maps").read_text() for name in names)

            print(loaded())
            devices()
            print(loaded())
        """)
        assert output.split() == ["False", "True"]

    @needs_intel_wheel
    def test_finds_intel_wheel_without_environment(self):
        output = run("""
            import os
            from clgrad.device import devices
            print([device.platform_name for device in devices()])
            print(os.environ.get("OCL_ICD_VENDORS"))
        """)
        platforms, variable = output.splitlines()
        assert "Intel(R) OpenCL" in platforms
        assert variable == "None"

    @needs_pocl_wheel
    def test_finds_pocl_wheel_without_environment(self):
        output = run("from clgrad.device import devices; print([d.platform_version for d in devices()])")
        assert "PoCL 3.0" in output

    def test_error_without_driver_names_the_extra(self, tmp_path: Path):
        output = run(
            HIDE_POCL_WHEEL + "from clgrad.device import devices\n"
            "try: devices()\n"
            "except Exception as error: print(type(error).__name__, error)",
            OCL_ICD_VENDORS=str(tmp_path),
        )
        assert output.startswith("DeviceError")
        assert 'pip install "clgrad[cpu]"' in output
        assert "clgrad doctor" in output

    @needs_intel_wheel
    def test_folder_of_the_user_is_respected(self, tmp_path: Path):
        output = run(
            "from clgrad.device import devices\n"
            "try: print([device.platform_name for device in devices()])\n"
            "except Exception as error: print(type(error).__name__)",
            OCL_ICD_VENDORS=str(tmp_path),
        )
        assert output in ("['Portable Computing Language']", "DeviceError")

    @needs_pocl_wheel
    def test_device_listed_twice_is_one_device(self, tmp_path: Path):
        library = next(Path(cl.__file__).parent.glob(".libs/libpocl*"))
        (tmp_path / "again.icd").write_text(str(library))
        output = run(
            "import pyopencl as cl\n"
            "from clgrad.device import devices\n"
            "print(len(devices()), len(cl.get_platforms()))",
            OCL_ICD_VENDORS=str(tmp_path),
        )
        assert output == "1 2"

    def test_processes_started_together_find_the_same(self):
        code = "from clgrad.device import devices; print(*[d.fingerprint for d in devices()])"
        processes = [start(code) for _ in range(4)]
        outputs = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 4
        assert len(set(outputs)) == 1

    def test_threads_start_opencl_once(self):
        output = run("""
            import threading
            from clgrad.device import devices
            found = []
            barrier = threading.Barrier(8)
            def find():
                barrier.wait()
                device = devices()[0]
                found.append((id(device), id(device.cl_context)))
            threads = [threading.Thread(target=find) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            print(len(found), len(set(found)))
        """)
        assert output == "8 1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
class TestFork:
    CHILD = """
        import os
        from clgrad.device import current_context, devices
        from clgrad.errors import DeviceError

        {before}
        child = os.fork()
        if child == 0:
            for use in ({uses}):
                try:
                    use()
                    print("works", flush=True)
                except DeviceError as error:
                    print(error, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """

    def test_child_of_a_started_process_gets_an_error(self):
        before = "context = current_context(); device = context.device; device.cl_context"
        uses = "devices, current_context, lambda: context.device, lambda: device.cl_context"
        lines = run(self.CHILD.format(before=before, uses=uses)).splitlines()
        assert len(lines) == 4
        assert all("forked" in line and "spawn" in line for line in lines)

    def test_child_does_not_wait_for_a_lock_that_another_thread_held(self):
        before = "from clgrad.device import discovery; discovery._state.lock.acquire()"
        uses = "lambda: devices()[0].cl_context,"
        assert run(self.CHILD.format(before=before, uses=uses)) == "works"

    def test_child_forked_before_the_start_works(self):
        uses = "lambda: devices()[0].cl_context,"
        assert run(self.CHILD.format(before="", uses=uses)) == "works"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Puts a machine of invented devices in the place of this one."""
    monkeypatch.delenv("CLGRAD_DEVICE", raising=False)
    monkeypatch.delenv("CLGRAD_LIMITS", raising=False)

    def install(*platforms: SimpleNamespace) -> None:
        monkeypatch.setattr(discovery, "_state", discovery._State())
        monkeypatch.setattr(discovery.cl, "get_platforms", lambda: list(platforms))
        monkeypatch.setattr(context_module, "_default", None)
        monkeypatch.setattr(Context, "_interned", {})

    return install


def fake_platform(name: str, *cl_devices: SimpleNamespace, version: str = "OpenCL 3.0"):
    platform = SimpleNamespace(name=name, version=version, vendor=f"{name} Inc.")
    platform.get_devices = lambda: list(cl_devices)
    for cl_device in cl_devices:
        cl_device.platform = platform
    return platform


def fake_device(name: str, **properties: object) -> SimpleNamespace:
    gpu_properties = {
        "name": name,
        "vendor": "Maker",
        "driver_version": "1.0",
        "type": cl.device_type.GPU,
        "extensions": "cl_khr_fp64",
        "available": True,
        "compiler_available": True,
        "max_work_group_size": 1024,
        "local_mem_size": 49152,
        "max_compute_units": 10,
        "max_clock_frequency": 1000,
        "max_num_sub_groups": 0,
        "max_mem_alloc_size": 2**30,
        "global_mem_size": 2**32,
        "max_parameter_size": 4352,
        "native_vector_width_float": 1,
        "single_fp_config": int(cl.device_fp_config.FMA),
        "host_unified_memory": False,
    }
    return SimpleNamespace(**(gpu_properties | properties))


CPU = {"type": cl.device_type.CPU, "host_unified_memory": True, "native_vector_width_float": 8}


class TestDevices:
    def test_order(self, machine):
        machine(
            fake_platform("Oclgrind", fake_device("simulator", **CPU | {"type": 15})),
            fake_platform("Portable Computing Language", fake_device("by PoCL", **CPU)),
            fake_platform("rusticl", fake_device("by Mesa", **CPU)),
            fake_platform("Intel(R) OpenCL", fake_device("by Intel", driver_version="2026.22", **CPU)),
            fake_platform("Integrated", fake_device("integrated", host_unified_memory=True)),
            fake_platform("Discrete", fake_device("small"), fake_device("large", max_compute_units=80)),
        )
        names = ["large", "small", "integrated", "by Intel", "by PoCL", "by Mesa", "simulator"]
        assert [found.name for found in devices()] == names
        contexts = ["gpu(0)", "gpu(1)", "gpu(2)", "cpu(0)", "cpu(1)", "cpu(2)", "cpu(3)"]
        assert [f"{found.kind}({found.index})" for found in devices()] == contexts
        assert num_gpus() == 3
        assert current_context() is gpu(0)

    def test_intel_driver_that_computes_wrong_values_comes_after_others(self, machine):
        bad = fake_device("bad", driver_version="2024.18.12.0.05_160000", **CPU)
        machine(
            fake_platform("Intel(R) OpenCL", bad),
            fake_platform("Portable Computing Language", fake_device("good", **CPU)),
        )
        assert [found.name for found in devices()] == ["good", "bad"]

    def test_equal_devices_of_a_platform_are_kept(self, machine):
        twins = fake_device("twin"), fake_device("twin")
        machine(fake_platform("Maker", *twins), fake_platform("Maker", *twins))
        assert [found.cl_device for found in devices()] == list(twins)

    def test_indices_do_not_depend_on_the_order_of_the_loader(self, machine):
        platforms = [fake_platform(name, fake_device(name)) for name in "ABC"]
        seen = set()
        for order in itertools.permutations(platforms):
            machine(*order)
            seen.add(tuple((found.name, found.platform_index) for found in devices()))
        assert all(set(numbered) == {("A", 0), ("B", 1), ("C", 2)} for numbered in seen)

    def test_unusable_devices_are_left_out(self, machine):
        machine(
            fake_platform(
                "Maker",
                fake_device("off", available=False),
                fake_device("without compiler", compiler_available=False),
                fake_device("good"),
            )
        )
        assert [found.name for found in devices()] == ["good"]

    def test_platform_that_raises_does_not_hide_others(self, machine):
        broken = fake_platform("Broken")

        def fail():
            raise cl.RuntimeError("DEVICE_NOT_FOUND")

        broken.get_devices = fail
        machine(broken, fake_platform("Maker", fake_device("good")))
        assert [found.name for found in devices()] == ["good"]

    def test_names_lose_padding(self, machine):
        machine(fake_platform("Maker", fake_device("  Big   GPU\0\0")))
        assert devices()[0].name == "Big GPU"

    def test_fingerprints_differ(self):
        fingerprints = [found.fingerprint for found in devices()]
        assert len(set(fingerprints)) == len(fingerprints)

    def test_context_is_created_once(self):
        found = devices()[0]
        assert found.cl_context is found.cl_context
        assert found.cl_context.devices == [found.cl_device]

    def test_gpu_memory(self, machine, monkeypatch):
        machine(fake_platform("Maker", fake_device("good", global_mem_size=2**33)))
        assert gpu_memory_info(0) == (2**33, 2**33)
        monkeypatch.setattr(Context, "taken", [lambda device: 1000])
        assert gpu_memory_info(0) == (2**33 - 1000, 2**33)
        with pytest.raises(DeviceError, match=r"gpu\(1\)"):
            gpu_memory_info(1)


class TestMemoryLimit:
    """Drivers of CPUs say how much memory the machine has; a container or ulimit may allow less."""

    @pytest.mark.once
    @pytest.mark.parametrize(
        ("groups", "files", "limit"),
        [
            ("0::/a/b", {"a/memory.max": "3000", "a/b/memory.max": "max"}, 3000),  # version 2, nested
            ("0::/../../elsewhere", {"memory.max": "5000"}, 5000),  # as a container sees it
            ("4:memory:/x\n0::/", {"memory/x/memory.limit_in_bytes": "7000"}, 7000),  # version 1
            ("4:memory:/x", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
            ("1:cpu:/x", {"memory.max": "3000"}, None),
            (None, {}, None),
        ],
    )
    def test_of_control_groups(self, tmp_path, monkeypatch, groups, files, limit):
        monkeypatch.setattr(host, "PROCESS", tmp_path)
        monkeypatch.setattr(host, "GROUPS", tmp_path / "groups")
        if groups is not None:
            (tmp_path / "cgroup").write_text(groups)
        for name, text in files.items():
            (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "groups" / name).write_text(text)
        assert host.memory_limit() == limit

    @pytest.mark.once
    def test_holds_for_cpus_alone(self, machine, monkeypatch):
        monkeypatch.setattr(host, "memory_limit", lambda: 2**20)
        machine(fake_platform("Maker", fake_device("by the host", **CPU), fake_device("apart")))
        limits = {d.name: d.capabilities.global_memory for d in devices()}
        assert limits == {"by the host": 2**20, "apart": 2**32}

    @linux_only
    def test_of_ulimit_ends_in_an_error_of_ours(self):
        """PoCL crashes where a buffer that it has promised does not exist; compilers need memory, too."""
        output = run(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            import clgrad as mx
            held = []
            try:
                while True:
                    held.append(mx.nd.empty((1 << 26,)))
            except mx.MXNetError as error:
                print(error)
            held.clear()
            print(mx.nd.sort(mx.nd.array([3, 1, 2])).asnumpy())
            """,
            **{k: v for k, v in os.environ.items() if k.startswith(ABOUT_OPENCL)},
        )
        assert re.match(r"array: cannot allocate 268,435,456 bytes on .*\n\[1. 2. 3.\]$", output)


class TestCapabilities:
    def test_of_real_devices_are_plausible(self):
        for found in devices():
            can = found.capabilities
            assert can.vector_bytes in (16, 32, 64)
            assert can.max_parameter_bytes >= 1024
            assert 0 < can.max_allocation <= can.global_memory
            reported = "cl_khr_fp64" in found.cl_device.extensions.split()
            assert can.fp64 == (reported and config.limits().get("fp64", 1) > 0)

    def test_strict_limits(self):
        output = run(
            "from clgrad.device import devices\n"
            "for d in devices():\n"
            "    c = d.capabilities\n"
            "    print(c.max_work_group_size, c.local_memory, c.fp64, c.fp16, c.subgroups)",
            CLGRAD_LIMITS="strict",
        )
        assert set(output.splitlines()) == {"64 16384 False False False"}

    def test_limits_lower_but_never_raise(self):
        can = devices()[0].capabilities
        assert can.limited({"work_group": 10**9, "local_memory": 10**9, "fp64": 1}) == can
        assert can.limited({"work_group": 7}).max_work_group_size == 7

    def test_limits_that_cannot_be_read_are_an_error(self, machine, monkeypatch):
        monkeypatch.setenv("CLGRAD_LIMITS", "registers=3")
        machine(fake_platform("Maker", fake_device("good")))
        with pytest.raises(DeviceError, match="registers=3"):
            devices()

    @pytest.mark.parametrize(
        ("properties", "expected"),
        [
            ({"extensions": ""}, False),
            ({"extensions": "cl_intel_subgroups"}, True),
            ({"extensions": "", "max_num_sub_groups": 64}, True),
        ],
    )
    def test_subgroups(self, machine, properties, expected):
        machine(fake_platform("Maker", fake_device("good", **properties)))
        assert devices()[0].capabilities.subgroups is expected

    @pytest.mark.parametrize(("floats", "expected"), [(1, 16), (8, 32), (16, 64), (32, 64)])
    def test_vectors_of_a_cpu_are_its_registers(self, machine, floats, expected):
        properties = CPU | {"native_vector_width_float": floats}
        machine(fake_platform("Maker", fake_device("good", **properties)))
        assert devices()[0].capabilities.vector_bytes == expected

    def test_are_immutable(self):
        with pytest.raises(AttributeError):
            devices()[0].capabilities.fp64 = True
        assert isinstance(devices()[0].capabilities, Capabilities)


class TestContext:
    def test_one_object_for_each_name(self):
        assert cpu() is Context("cpu") is Context("cpu_pinned", 0) is Context("cpu_shared")
        assert Context(gpu(1)) is gpu(1)
        assert cpu() == cpu(0) != cpu(1) != gpu(1)
        assert len({cpu(), cpu(0), gpu(0)}) == 2

    def test_copies_are_the_same_object(self):
        assert pickle.loads(pickle.dumps(gpu(3))) is copy.deepcopy(gpu(3)) is gpu(3)

    def test_attributes(self):
        context = gpu(2)
        assert (context.device_type, context.device_id) == ("gpu", 2)
        assert str(context) == repr(context) == "gpu(2)"
        with pytest.raises(AttributeError):
            context.device_id = 1

    @pytest.mark.parametrize("arguments", [("tpu",), (None,), ("cpu", -1), ("cpu", "1"), ("gpu", 0.5)])
    def test_bad_arguments(self, arguments):
        with pytest.raises(DeviceError, match=repr(arguments[-1])):
            Context(*arguments)

    def test_gpu_without_gpu_raises_when_it_is_used(self, machine):
        machine(fake_platform("Maker", fake_device("only a CPU", **CPU)))
        context = gpu(0)
        with context:
            assert current_context() is context
        with pytest.raises(MXNetError, match=r"(?s)gpu\(0\).*cpu\(0\).*only a CPU"):
            _ = context.device

    def test_device_is_that_of_the_name(self):
        for found in devices():
            assert Context(found.kind, found.index).device is found


class TestScopes:
    def test_nested(self):
        outside = current_context()
        with cpu(1) as outer:
            assert outer is cpu(1)
            with gpu(0):
                assert current_context() is gpu(0) is Context.default_ctx
            assert current_context() is cpu(1)
        assert current_context() is outside

    def test_reentered(self):
        outside = current_context()
        context = gpu(5)
        with context, cpu(7):
            with context:
                assert current_context() is context
            assert current_context() is cpu(7)
        assert current_context() is outside

    def test_left_by_an_exception(self):
        outside = current_context()
        with pytest.raises(KeyError), gpu(1), gpu(2):
            raise KeyError
        assert current_context() is outside

    def test_generators_that_end_in_any_order(self):
        def scope(context):
            with context:
                yield

        outside = current_context()
        first, second = scope(gpu(1)), scope(gpu(2))
        next(first), next(second)
        first.close()
        assert current_context() is gpu(2)
        second.close()
        assert current_context() is outside

    def test_belong_to_a_thread(self):
        outside = current_context()
        inside = []
        with gpu(4):
            thread = threading.Thread(target=lambda: inside.append(current_context()))
            thread.start()
            thread.join()
        assert inside == [outside]


class TestChoice:
    @pytest.fixture
    def three(self, machine):
        machine(
            fake_platform("Acme CL", fake_device("Rocket 9", max_compute_units=99), version="A 3.1"),
            fake_platform("Acme CL", fake_device("Rocket 8"), version="A 3.0"),
            fake_platform("Other", fake_device("Acme CPU", **CPU)),
        )

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("gpu", "gpu(0)"),
            ("GPU(1)", "gpu(1)"),
            ("cpu:0", "cpu(0)"),
            ("0:0", "gpu(1)"),
            ("1:0", "gpu(0)"),
            ("acme", "gpu(0)"),
            ("ACME CPU", "cpu(0)"),
            ("a 3.0", "gpu(1)"),
            ("other inc", "cpu(0)"),
            ("rocket 8", "gpu(1)"),
        ],
    )
    def test_by_name(self, three, name, expected):
        assert str(device(name)) == expected

    def test_platforms_go_before_devices(self, machine):
        machine(
            fake_platform("Other", fake_device("Acme on Other")),
            fake_platform("Acme", fake_device("small", max_compute_units=1)),
        )
        assert device("acme").device.name == "small"

    @pytest.mark.parametrize("name", ["nvidia", "gpu(2)", "cpu:1", "7:0", "", " "])
    def test_unknown_name_lists_what_exists(self, three, name):
        with pytest.raises(DeviceError) as raised:
            device(name)
        message = str(raised.value)
        assert repr(name) in message
        assert all(word in message for word in ("gpu(0)", "1:0", "Rocket 9", "cpu(0)", "Acme CPU"))

    def test_default_is_what_the_environment_names(self, three, monkeypatch):
        monkeypatch.setenv("CLGRAD_DEVICE", "acme cpu")
        assert current_context() is cpu(0)

    def test_unknown_default(self, three, monkeypatch):
        monkeypatch.setenv("CLGRAD_DEVICE", "nvidia")
        with pytest.raises(DeviceError, match=r"(?s)CLGRAD_DEVICE=nvidia.*Rocket 9"):
            current_context()

    def test_default_of_this_run(self):
        expected = device(config.device()) if config.device() else None
        assert current_context() is (expected or Context(devices()[0].kind, devices()[0].index))


class TestDrivers:
    """Finding vendor libraries in a prefix made for the purpose."""

    @pytest.fixture
    def prefix(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "etc/OpenCL/vendors").mkdir(parents=True)
        (tmp_path / "lib").mkdir()
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        monkeypatch.setenv("OPENCL_VENDOR_PATH", str(tmp_path / "system"))
        monkeypatch.setattr(icd, "_INTEL_WHEELS", ())
        return tmp_path

    @staticmethod
    def libraries() -> dict[str, str]:
        return {d.icd.name: d.library for d in icd.installed_drivers() if d.source != "pyopencl"}

    def test_wrong_path_is_mended(self, prefix: Path):
        (prefix / "lib/libvendor.so").touch()
        (prefix / "etc/OpenCL/vendors/vendor.icd").write_text("/build/machine/libvendor.so\n")
        assert self.libraries() == {"vendor.icd": str(prefix / "lib/libvendor.so")}

    def test_path_that_cannot_be_mended_is_kept(self, prefix: Path):
        (prefix / "etc/OpenCL/vendors/vendor.icd").write_text("/build/machine/libvendor.so\n")
        assert self.libraries() == {"vendor.icd": "/build/machine/libvendor.so"}

    def test_system_folder_and_names_for_the_loader(self, prefix: Path):
        (prefix / "system").mkdir()
        (prefix / "system/nvidia.icd").write_text("libnvidia-opencl.so.1\n")
        assert self.libraries() == {"nvidia.icd": "libnvidia-opencl.so.1"}
        assert next(d.source for d in icd.installed_drivers()) == "system"

    def test_same_library_is_found_once(self, prefix: Path):
        for name in ("a.icd", "b.icd"):
            (prefix / "etc/OpenCL/vendors" / name).write_text("libvendor.so\n")
        assert self.libraries() == {"a.icd": "libvendor.so"}

    def test_fpga_emulator_and_empty_files_are_left_out(self, prefix: Path):
        folder = prefix / "etc/OpenCL/vendors"
        (folder / "emulator.icd").write_text("/opt/lib/libintelocl_emu.so")
        (folder / "empty.icd").touch()
        (folder / "folder.icd").mkdir()
        assert self.libraries() == {}

    @linux_only
    def test_folder_for_the_loader_is_there_while_it_starts(self, prefix: Path, monkeypatch):
        monkeypatch.delenv("OCL_ICD_VENDORS", raising=False)
        (prefix / "etc/OpenCL/vendors/vendor.icd").write_text("/build/machine/libvendor.so\n")
        with icd.vendor_folder():
            folder = Path(os.environ["OCL_ICD_VENDORS"])
            assert [file.read_text() for file in folder.iterdir()] == ["/build/machine/libvendor.so\n"]
        assert "OCL_ICD_VENDORS" not in os.environ
        assert not folder.exists()

    def test_nothing_is_changed_where_the_loader_needs_no_help(self, prefix: Path, monkeypatch):
        monkeypatch.delenv("OCL_ICD_VENDORS", raising=False)
        monkeypatch.setattr(icd, "_pyopencl_folder", lambda: prefix)
        with icd.vendor_folder():
            assert "OCL_ICD_VENDORS" not in os.environ

    def test_folder_of_the_user_is_left_alone(self, prefix: Path, monkeypatch):
        (prefix / "etc/OpenCL/vendors/vendor.icd").write_text("/build/machine/libvendor.so\n")
        monkeypatch.setenv("OCL_ICD_VENDORS", "/of/the/user")
        with icd.vendor_folder():
            assert os.environ["OCL_ICD_VENDORS"] == "/of/the/user"
        assert os.environ["OCL_ICD_VENDORS"] == "/of/the/user"

    def test_drivers_of_the_user(self, prefix: Path, monkeypatch):
        folder = prefix / "etc/OpenCL/vendors"
        (folder / "vendor.icd").write_text("/build/machine/libvendor.so\n")
        for value in (folder, folder / "vendor.icd"):
            monkeypatch.setenv("OCL_ICD_VENDORS", str(value))
            assert [d.library for d in icd.user_drivers()] == ["/build/machine/libvendor.so"]
        monkeypatch.setenv("OCL_ICD_VENDORS", "libvendor.so")
        assert [d.library for d in icd.user_drivers()] == ["libvendor.so"]
        monkeypatch.delenv("OCL_ICD_VENDORS")
        assert icd.user_drivers() == []

    def test_library_that_does_not_load_says_why(self, tmp_path: Path):
        (tmp_path / "libtext.so").write_text("no library")
        assert "libtext.so" in (icd.preload(str(tmp_path / "libtext.so")) or "")
        assert "cannot open" in (icd.preload(str(tmp_path / "libabsent.so")) or "")

    @needs_intel_wheel
    def test_dependencies_are_found_in_another_folder(self, tmp_path: Path):
        # Through the link, the library does not find its dependencies beside itself.
        wheel = next(file for file in icd._wheel_files() if file.name == "libintelocl.so")
        link = tmp_path / "libintelocl.so"
        link.symlink_to(wheel)
        output = run(f"""
            import ctypes
            from clgrad.device import icd
            try:
                ctypes.CDLL({str(link)!r})
            except OSError as error:
                print("cannot open" in str(error))
            print(icd.preload({str(link)!r}))
        """)
        assert output.split() == ["True", "None"]


@linux_only
class TestPoclWheel:
    """Replacing the name of the CPU in a structure that looks as PoCL's does, or does not quite."""

    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            ("sse2 avx", "x86-64"),
            ("avx avx2 fma bmi1 bmi2 f16c movbe", "haswell"),
            ("avx avx2 fma bmi1 bmi2 f16c movbe avx512f", "haswell"),
            ("avx2 fma avx512f avx512bw avx512dq avx512vl avx512cd", "skylake-avx512"),
        ],
    )
    def test_name_of_a_known_cpu(self, flags: str, expected: str):
        assert pocl_wheel.known_cpu(frozenset(flags.split())) == expected

    @staticmethod
    def replace(*words: bytes) -> tuple[str | None, list[bytes | None]]:
        """What is replaced, and the strings afterwards, of a structure of ``words``."""
        structure = (ctypes.c_char_p * 256)(*([None] * 77), *words)
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        try:
            name = pocl_wheel._replace(memory, ctypes.addressof(structure))
            again = pocl_wheel._replace(memory, ctypes.addressof(structure))
        finally:
            os.close(memory)
        assert again == name
        return name, [structure[77 + i] for i in range(len(words))]

    def test_replaces_the_unknown_name(self):
        name, words = self.replace(b"x86_64-unknown-linux-gnu", b"generic", b"generic")
        assert name == pocl_wheel.known_cpu(pocl_wheel.cpu_flags())
        assert words == [b"x86_64-unknown-linux-gnu", name.encode(), b"generic"]

    def test_replaces_the_name_of_an_older_cpu_where_there_is_avx512(self, monkeypatch):
        """Else the library that PoCL links needs more than the kernel has, and nothing is inlined."""
        words = b"x86_64-unknown-linux-gnu", b"znver3"
        monkeypatch.setattr(pocl_wheel, "cpu_flags", lambda: frozenset(["avx2", "fma"]))
        assert self.replace(*words) == (None, list(words))
        flags = "avx2 fma avx512f avx512bw avx512dq avx512vl avx512cd"
        monkeypatch.setattr(pocl_wheel, "cpu_flags", lambda: frozenset(flags.split()))
        assert self.replace(*words) == ("skylake-avx512", [words[0], b"skylake-avx512"])

    @pytest.mark.parametrize(
        "words",
        [
            (b"x86_64-unknown-linux-gnu", b"icelake-server"),
            (b"generic", b"x86_64-unknown-linux-gnu"),
            (b"aarch64-unknown-linux-gnu", b"generic"),
            (b"x86_64-unknown-linux-gnu", b"generic", b"x86_64-unknown-linux-gnu", b"generic"),
            (),
        ],
    )
    def test_leaves_alone_what_looks_otherwise(self, words: tuple[bytes, ...]):
        assert self.replace(*words) == (None, list(words))

    def test_leaves_other_runtimes_alone(self):
        cl_device = fake_device("CPU", **CPU)
        fake_platform("Portable Computing Language", cl_device, version="OpenCL 3.0 PoCL 6.0")
        assert pocl_wheel.set_known_cpu(cl_device) is None  # type: ignore[arg-type]

    @needs_pocl_wheel
    def test_wheel_builds_kernels_and_gets_vectors_that_it_survives(self):
        output = run("""
            import pyopencl as cl
            from clgrad.device import device
            found = device("pocl 3.0").device
            width = found.capabilities.vector_bytes // 4
            source = f'''
            __kernel void k(__global const float *x, __global float *y) {{
                vstore{width}(exp(vload{width}(0, x)), 0, y);
            }}'''
            program = cl.Program(found.cl_context, source).build(list(found.build_options))
            flags = cl.mem_flags
            x = cl.Buffer(found.cl_context, flags.READ_ONLY, 64)
            y = cl.Buffer(found.cl_context, flags.WRITE_ONLY, 64)
            queue = cl.CommandQueue(found.cl_context)
            cl.Kernel(program, "k")(queue, (1,), None, x, y)
            queue.finish()
            print("done")
        """)
        assert output == "done"

    def test_options_tell_targets_apart(self, monkeypatch):
        cl_device = fake_device("CPU", **CPU)
        fake_platform("Portable Computing Language", cl_device, version="OpenCL 3.0 PoCL 3.0-rc2")
        options = set()
        for target, width in (("skylake-avx512", 64), ("haswell", 32), ("x86-64", 16), (None, 32)):
            monkeypatch.setattr(pocl_wheel, "set_known_cpu", lambda _, target=target: target)
            found = quirks.quirks_of(cl_device)  # type: ignore[arg-type]
            assert found.overrides["vector_bytes"] == width
            assert found.overrides["fast_fma"] is (target == "skylake-avx512")
            options.add(found.build_options)
        assert len(options) == 4
