"""Starting OpenCL: where drivers are looked for, what is mended on the way to them, forks."""

import ctypes
import os
import sys
from pathlib import Path

import pyopencl as cl
import pytest
from device_harness import (
    CPU,
    HIDE_POCL_WHEEL,
    fake_device,
    fake_platform,
    linux_only,
    needs_intel_wheel,
    needs_pocl_wheel,
    run,
    start,
)

from clgrad.device import icd, pocl_wheel, quirks


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
