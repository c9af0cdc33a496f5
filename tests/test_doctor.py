"""The ``clgrad`` command: ``devices`` and ``doctor``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import stand_in_for_python

import clgrad as mx
from clgrad.cli import child, doctor, probe
from clgrad.cli.child import Outcome
from clgrad.cli.main import main
from clgrad.device import current_context, devices, icd
from clgrad.device.icd import Driver
from clgrad.errors import DeviceError

ROOT = Path(__file__).parents[1]


def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-m", "clgrad", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith(f"clgrad {mx.__version__}, pyopencl ")


class TestDevices:
    def test_lists_every_device_and_marks_the_default(self, capsys):
        assert main(["devices"]) == 0
        header, *lines = capsys.readouterr().out.splitlines()
        assert header.split()[:3] == ["context", "name", "platform"]
        for found, line in zip(devices(), lines, strict=False):
            context = f"{found.kind}({found.index})"
            marked = line.startswith("*")
            assert line.split()[1 if marked else 0] == context
            assert marked == (context == str(current_context()))
            assert found.name in line
            assert found.platform_name in line

    def test_says_why_the_default_is_the_default(self):
        output = command("devices", CLGRAD_DEVICE="cpu(0)").stdout
        assert "cpu(0) is the default: CLGRAD_DEVICE is 'cpu(0)'" in output
        output = command("devices", CLGRAD_DEVICE="").stdout
        assert "in order of preference" in output

    def test_says_that_limits_are_lowered(self):
        output = command("devices", CLGRAD_LIMITS="fp64=0").stdout
        assert "CLGRAD_LIMITS=fp64=0" in output
        assert "yes" not in {line.split()[-7] for line in output.splitlines() if "GiB" in line}

    def test_error_is_a_message_and_a_status(self):
        result = command("devices", CLGRAD_DEVICE="no such device")
        assert result.returncode == 1
        assert result.stderr.startswith("clgrad: CLGRAD_DEVICE=no such device: there is no device")
        assert "Traceback" not in result.stderr

    def test_without_command_shows_usage(self):
        result = command()
        assert result.returncode == 2
        assert "usage: clgrad" in result.stderr


class TestDoctor:
    def test_on_this_machine(self):
        result = command("doctor")
        assert result.returncode == 0, result.stdout
        lines = result.stdout.splitlines()
        assert lines[0].startswith("clgrad ")
        assert "pyopencl" in lines[0]
        for found in devices():
            subject = f"{found.kind}({found.index}): {found.name}, {found.platform_name}"
            assert f"  ok      {subject}" in lines

    def test_driver_that_is_no_library(self, tmp_path: Path):
        (tmp_path / "libtext.so").write_text("no library")
        (tmp_path / "text.icd").write_text(f"{tmp_path}/libtext.so\n")
        output = command("doctor", OCL_ICD_VENDORS=str(tmp_path)).stdout
        assert f"OCL_ICD_VENDORS is {tmp_path}" in output
        failure = output[output.index("FAILS   " + str(tmp_path / "text.icd")) :]
        assert "file too short" in failure or "invalid ELF header" in failure
        assert "To mend it:" in failure

    def test_driver_that_is_not_there(self, tmp_path: Path):
        (tmp_path / "gone.icd").write_text("/build/machine/libgone.so\n")
        output = command("doctor", OCL_ICD_VENDORS=str(tmp_path)).stdout
        assert "/build/machine/libgone.so: cannot open shared object file" in output
        assert "To mend it: unset OCL_ICD_VENDORS" in output


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch):
    """Lets each probe end as the test wants, on a machine with the drivers that it wants."""

    def install(drivers: list[Driver], **by_probe: Outcome) -> None:
        monkeypatch.delenv("OCL_ICD_VENDORS", raising=False)
        monkeypatch.setattr(icd, "installed_drivers", lambda: drivers)
        monkeypatch.setattr(doctor, "_version", lambda package: "(not installed)")
        monkeypatch.setattr(doctor, "in_child", lambda name, *arguments: by_probe[name])

    return install


def driver(library: str, source: str = "system") -> Driver:
    return Driver(Path("/vendors/some.icd"), library, library, source)


NO_DEVICES = Outcome(error="no OpenCL device was found")
ONE_DEVICE = Outcome(result=[{"context": "gpu(0)", "name": "Rocket, Acme"}])


@pytest.mark.filterwarnings("ignore::pyopencl.CompilerWarning")
def test_kernel_that_computes_wrong_values(monkeypatch):
    probe.run_kernel(str(current_context()))
    monkeypatch.setattr(probe, "_SOURCE", probe._SOURCE.replace("exp(", "exp2("))
    with pytest.raises(DeviceError, match="wrong values"):
        probe.run_kernel(str(current_context()))


class TestDiagnosis:
    """What it says of machines that are not this one."""

    def test_no_driver(self, outcomes, capsys):
        outcomes([], list_devices=NO_DEVICES)
        assert main(["doctor"]) == 1
        output = capsys.readouterr().out
        assert 'pip install "clgrad[cpu]"' in output
        assert "no OpenCL device was found" in output
        assert "clgrad cannot run" in output

    def test_device_that_computes_wrong_values(self, outcomes, capsys):
        outcomes([], list_devices=ONE_DEVICE, run_kernel=Outcome(error="it computes wrong values"))
        assert main(["doctor"]) == 1
        assert "FAILS   gpu(0): Rocket, Acme" in capsys.readouterr().out

    def test_device_that_computes_right(self, outcomes, capsys):
        outcomes([], list_devices=ONE_DEVICE, run_kernel=Outcome())
        assert main(["doctor"]) == 0
        assert "ok      gpu(0): Rocket, Acme" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("library", "source", "error", "remedy"),
        [
            (
                "/env/lib/libintelocl.so",
                "pip",
                "libimf.so: cannot open shared object file",
                "pip install --force-reinstall intel-opencl-rt intel-cmplr-lib-rt",
            ),
            (
                "libacme.so.1",
                "system",
                "libacme.so.1: cannot open shared object file",
                "sudo rm /vendors/some.icd",
            ),
            (
                "libacme.so.1",
                "system",
                "libhelper.so.2: cannot open shared object file",
                "apt-file search libhelper.so.2",
            ),
            ("libacme.so.1", "system", "it crashes: Segmentation fault", "export OCL_ICD_VENDORS"),
        ],
    )
    def test_driver_that_does_not_load(self, outcomes, capsys, library, source, error, remedy):
        outcomes([driver(library, source)], try_driver=Outcome(error=error), list_devices=NO_DEVICES)
        main(["doctor"])
        output = capsys.readouterr().out
        assert error in output
        assert remedy in output

    @pytest.mark.parametrize(
        ("library", "hint"),
        [
            ("libRusticlOpenCL.so.1", "export RUSTICL_ENABLE=llvmpipe"),
            ("libnvidia-opencl.so.1", "nvidia-smi"),
            ("libMesaOpenCL.so.1", "old AMD GPUs"),
            ("libacme.so.1", "no access to it"),
        ],
    )
    def test_driver_without_device(self, outcomes, capsys, library, hint):
        outcomes([driver(library)], try_driver=Outcome(result=[]), list_devices=NO_DEVICES)
        main(["doctor"])
        output = capsys.readouterr().out
        assert "has no device" in output
        assert hint in output

    def test_intel_wheel_without_its_library(self, outcomes, capsys, monkeypatch):
        outcomes([], list_devices=NO_DEVICES)
        monkeypatch.setattr(doctor, "_version", lambda package: "2026.2.0")
        main(["doctor"])
        assert "`pip install --target` leaves it out" in capsys.readouterr().out

    def test_gpu_that_cannot_be_opened(self, outcomes, capsys, monkeypatch, tmp_path: Path):
        outcomes([], list_devices=NO_DEVICES)
        node = tmp_path / "renderD128"
        node.touch()
        monkeypatch.setattr(doctor, "_gpu_nodes", lambda: [node])
        monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
        main(["doctor"])
        output = capsys.readouterr().out
        assert f"sudo usermod -aG {node.group()} $USER" in output
        monkeypatch.setattr(doctor.os, "access", lambda path, mode: True)
        main(["doctor"])
        assert f"{node} can be opened" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="shell scripts stand in for Python")
class TestChild:
    @pytest.fixture
    def python(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """Puts a shell script in the place of the Python that probes run in."""

        def install(script: str) -> None:
            stand_in_for_python(tmp_path, monkeypatch, script)

        return install

    def test_that_crashes(self, python):
        python("kill -SEGV $$")
        assert "Segmentation fault" in (child.in_child("list_devices").error or "")

    def test_that_hangs(self, python):
        python("exec sleep 600")
        assert "hangs" in (child.in_child("list_devices", timeout=0.5).error or "")

    def test_that_says_nothing(self, python):
        python("echo some complaint >&2; exit 3")
        error = child.in_child("list_devices").error or ""
        assert "status 3" in error
        assert "some complaint" in error

    def test_that_a_driver_makes_chatty(self, python):
        python("""echo 'a warning'; echo; echo '{"result": ["a device"]}'""")
        assert child.in_child("list_devices") == Outcome(result=["a device"])

    def test_that_raises(self):
        error = child.in_child("run_kernel", "no such device").error or ""
        assert "there is no device 'no such device'" in error

    def test_that_works(self):
        found = child.in_child("list_devices").result
        assert [entry["context"] for entry in found] == [f"{d.kind}({d.index})" for d in devices()]
