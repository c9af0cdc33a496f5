"""Devices, invented ones among them: order, names, capabilities; contexts and scopes."""

import copy
import itertools
import os
import pickle
import re
import threading
from types import SimpleNamespace

import pyopencl as cl
import pytest
from device_harness import (
    ABOUT_OPENCL,
    CPU,
    fake_device,
    fake_platform,
    linux_only,
    run,
)

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
    num_gpus,
)
from clgrad.device import context as context_module
from clgrad.errors import DeviceError, MXNetError


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

    def test_a_name_is_a_string(self):
        with pytest.raises(DeviceError, match="device: name is int; accepted: str"):
            device(1)

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
