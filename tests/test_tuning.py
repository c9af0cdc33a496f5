"""The database of tuned parameters: which entry holds on a device, and what becomes of wrong ones."""

import dataclasses
import json
import os
import warnings
from pathlib import Path

import numpy as np
import plan_harness
import pytest

from clgrad.device import current_context, devices
from clgrad.kernels import database, matmul, tuning
from clgrad.kernels.database import Entry
from clgrad.kernels.parameters import FAMILIES, MapCpu, MapGpu, MatmulCpu, MatmulGpu, ReduceGpu, TensorGpu

FLOAT = np.dtype("float32")


@pytest.fixture
def device():
    """The device under test as a CPU, whatever it is."""
    return plan_harness.device_of_shape("cpu")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes the user's file, and makes it the only one there is."""
    file = tmp_path / "own.json"
    monkeypatch.setenv("CLGRAD_TUNING", str(file))
    monkeypatch.setattr(tuning, "_SHIPPED", tmp_path / "shipped")

    def write(*entries: dict, to: Path = file) -> Path:
        to.parent.mkdir(exist_ok=True)
        to.write_text(json.dumps({"format": 1, "entries": list(entries)}))
        return to

    tuning.forget()
    yield write
    tuning.forget()


def entry(devices: dict, **families: object) -> dict:
    return {"for": devices, "parameters": families}


def grain(device) -> int:
    tuning.forget()
    return tuning.of(device, MapCpu).grain


class TestOrder:
    def test_each_level_comes_before_the_less_particular(self, own, device):
        """Files list their entries in any order."""
        known = tuning.identity(device)
        exact = {key: known[key] for key in ("platform", "device", "driver")}
        levels = [
            ({"class": known["class"]}, 1000),
            ({"vendor": known["vendor"]}, 1001),
            ({"architecture": known["architecture"]}, 1002),
            (exact, 1003),
        ]
        for count in range(1, 5):
            some = levels[:count]
            for ordered in (some, some[::-1]):
                own(*(entry(names, map_cpu={"grain": value}) for names, value in ordered))
                assert grain(device) == some[-1][1]

    def test_own_file_comes_before_what_clgrad_brings(self, own, device, tmp_path):
        known = tuning.identity(device)
        exact = {key: known[key] for key in ("platform", "device", "driver")}
        own(entry(exact, map_cpu={"grain": 5000}), to=tmp_path / "shipped" / "some.json")
        assert grain(device) == 5000
        own(entry({"class": known["class"]}, map_cpu={"grain": 6000}))
        assert grain(device) == 6000
        assert "own.json, by its class" in tuning.choose(device, MapCpu).source

    def test_entries_of_other_devices_and_families_do_not_count(self, own, device):
        known = tuning.identity(device)
        own(
            entry({"device": "another"}, map_cpu={"grain": 5000}),
            entry({"device": known["device"], "driver": "another"}, map_cpu={"grain": 5000}),
            entry({"class": known["class"]}, reduce_cpu={"grain": 5000}),
        )
        assert tuning.of(device, MapCpu) == MapCpu.default(device.capabilities)
        assert tuning.choose(device, MapCpu).source == "safe default"

    def test_off(self, own, device, monkeypatch):
        own(entry({"class": "cpu"}, map_cpu={"grain": 5000}))
        monkeypatch.setenv("CLGRAD_TUNING", "off")
        assert grain(device) == MapCpu.default(device.capabilities).grain

    def test_file_of_a_user_who_sets_nothing(self, monkeypatch):
        monkeypatch.delenv("CLGRAD_TUNING", raising=False)
        monkeypatch.setenv("XDG_CONFIG_HOME", "/settings")
        assert tuning.config.tuning_file() == Path("/settings/clgrad/tuning.json")

    def test_identity_is_that_of_the_device(self):
        for found in devices():
            known = tuning.identity(found)
            assert set(known) == set(database.KEYS)
            assert known["driver"] == found.driver_version
            assert (known["class"] == "cpu") == (found.kind == "cpu")


class TestWrongEntries:
    @pytest.mark.parametrize(
        ("values", "problem"),
        [
            ({"grain": 0}, "grain is 0; accepted is an integer from"),
            ({"grain": True}, "grain is True"),
            ({"grain": 1e4}, "grain is 10000.0"),
            ({"grain": "8192"}, "grain is '8192'"),
            ({"grain": 10**40}, "accepted is an integer from"),
            ({"vector_bytes": 48}, "a power of two"),
            ({"grains": 8192}, "'grains' is unknown; accepted are vector_bytes, grain"),
        ],
    )
    def test_falls_to_the_next_level_with_a_warning(self, own, device, values, problem):
        own(
            entry({"vendor": device.vendor}, map_cpu=values),
            entry({"class": "cpu"}, map_cpu={"grain": 7000}),
        )
        with pytest.warns(RuntimeWarning, match="ignores the map_cpu parameters") as caught:
            assert grain(device) == 7000
        assert problem in str(caught[0].message)
        assert tuning.of(device, MapCpu).grain == 7000  # says so once

    @pytest.mark.parametrize(
        ("kind", "limits", "values"),
        [
            (MapCpu, {"vector_bytes": 16}, {"vector_bytes": 32}),
            (MatmulCpu, {"vector_bytes": 32}, {"vector_bytes": 64}),
            (MapGpu, {"max_work_group_size": 64}, {"group": 128}),
            (MatmulGpu, {"max_work_group_size": 128}, {"tile_m": 128, "tile_n": 128}),
            (MatmulGpu, {"local_memory": 8192}, {"tile_m": 64, "tile_n": 64, "depth": 16}),
            (MatmulGpu, {}, {"tile_m": 16, "tile_n": 256, "item_m": 16, "item_n": 16}),
            (MatmulGpu, {}, {"tile_m": 32, "tile_n": 32, "item_m": 16, "item_n": 16}),
            (MatmulGpu, {}, {"tile_m": 32, "tile_n": 32, "depth": 64, "item_m": 8, "item_n": 8}),
            (TensorGpu, {"max_work_group_size": 128}, {"warp_n": 32}),
            (TensorGpu, {"local_memory": 32768}, {"tile_m": 128, "tile_n": 128, "stages": 3}),
            (TensorGpu, {}, {"tile_m": 32, "warp_m": 64}),
            (TensorGpu, {}, {"tile_m": 32, "warp_m": 16, "tile_n": 256, "warp_n": 16, "depth_bytes": 32}),
            (TensorGpu, {}, {"warp_m": 128, "warp_n": 64}),
            (ReduceGpu, {"max_work_group_size": 64}, {"team": 128}),
            (ReduceGpu, {"local_memory": 1024}, {"team": 64}),
        ],
    )
    def test_what_the_device_cannot_run_is_refused(self, device, kind, limits, values):
        usual = {"max_work_group_size": 1024, "local_memory": 1 << 16, "vector_bytes": 64}
        capabilities = dataclasses.replace(device.capabilities, **(usual | limits))
        with pytest.raises(ValueError, match=r"device|work-item|slab|divide|warp"):
            kind.read(values, capabilities)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"\xff\xfe\x00",
            b"[" * 100_000,
            b"9" * 10_000,
            b" " * (1 << 20) + b" {}",
            b"[]",
            b'{"format": 2, "entries": []}',
            b'{"format": 1, "entries": {}}',
        ],
    )
    def test_corrupt_file_is_ignored(self, own, device, tmp_path, content):
        (tmp_path / "own.json").write_bytes(content)
        with pytest.warns(RuntimeWarning, match="ignores tuned parameters in .*own.json"):
            assert grain(device) == MapCpu.default(device.capabilities).grain

    @pytest.mark.parametrize(
        "wrong",
        [
            7,
            {"for": {}, "parameters": {}},
            {"for": {"colour": "red"}, "parameters": {}},
            {"for": {"class": 1}, "parameters": {}},
            {"for": {"class": "cpu"}, "parameters": {"map_cpu": 3}},
            {"for": {"class": "cpu"}},
        ],
    )
    def test_entry_of_another_form_leaves_the_others(self, own, device, wrong):
        own(wrong, entry({"class": "cpu"}, map_cpu={"grain": 7000}))
        with pytest.warns(RuntimeWarning, match="entry 0"):
            assert grain(device) == 7000

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")
    def test_pipe_does_not_hang(self, own, device, tmp_path):
        os.mkfifo(tmp_path / "own.json")
        with pytest.warns(RuntimeWarning, match="no file"):
            assert grain(device) == MapCpu.default(device.capabilities).grain


class TestWriting:
    OTHER = Entry("", {"class": "gpu"}, {"map_gpu": {"group": 64}}, {"map_gpu": "long ago"})

    def test_keeps_other_devices_and_families(self, tmp_path):
        file = tmp_path / "new folder" / "own.json"
        mine = {"class": "cpu"}
        database.add(file, self.OTHER)
        database.add(file, Entry("", mine, {"map_cpu": {"grain": 1}}, {"map_cpu": "now"}))
        database.add(file, Entry("", mine, {"matmul_cpu": {"depth": 2}}, {"matmul_cpu": "now"}))
        database.add(file, Entry("", mine, {"map_cpu": {"grain": 3}}, {"map_cpu": "later"}))
        other, found = database.read(file)
        assert (other.devices, other.parameters) == (self.OTHER.devices, self.OTHER.parameters)
        assert found.parameters == {"map_cpu": {"grain": 3}, "matmul_cpu": {"depth": 2}}
        assert found.measured == {"map_cpu": "later", "matmul_cpu": "now"}
        assert [path.name for path in file.parent.iterdir()] == ["own.json"]

    def test_what_cannot_be_read_is_kept_beside(self, tmp_path):
        file = tmp_path / "own.json"
        file.write_text("by hand, alas")
        database.add(file, self.OTHER)
        assert len(database.read(file)) == 1
        assert (tmp_path / "own.json.unreadable").read_text() == "by hand, alas"

    def test_failure_leaves_the_file_as_it_was(self, tmp_path, monkeypatch):
        file = tmp_path / "own.json"
        database.add(file, self.OTHER)
        before = file.read_bytes()
        monkeypatch.setattr(
            database.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full"))
        )
        with pytest.raises(OSError, match="disk full"):
            database.add(file, Entry("", {"class": "cpu"}, {}))
        assert file.read_bytes() == before
        assert list(tmp_path.iterdir()) == [file]


class TestShipped:
    FILES = sorted(tuning._SHIPPED.glob("*.json"))

    def test_is_right_and_for_known_families(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            entries = [e for file in self.FILES for e in database.read(file)]
        for found in entries:
            assert found.parameters.keys() <= FAMILIES.keys()
            assert found.measured.keys() == found.parameters.keys(), "say what was measured"

    def test_holds_on_the_device_under_test(self, own, monkeypatch):
        """An entry that this very device cannot use would warn each of its users."""
        monkeypatch.undo()
        tuning.forget()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for kind in FAMILIES.values():
                tuning.of(current_context().device, kind)


class TestPlanners:
    """Kernels of parameters far from the default ones compute the same."""

    @pytest.mark.parametrize(
        ("shape", "parameters"),
        [
            ("cpu", MatmulCpu(16, 9, 3, 64, 32, 1, 1)),
            ("cpu", MatmulCpu(16, 8, 4, 128, 4096, 1 << 20, 16)),
            ("gpu", MatmulGpu(32, 64, 4, 4, 8, 8)),
            ("gpu", MatmulGpu(32, 16, 8, 4, 4, 1)),
        ],
    )
    def test_matmul(self, shape, parameters, rng):
        a, b = (rng.integers(-3, 4, s).astype(FLOAT) for s in ((67, 300), (300, 75)))
        device = plan_harness.device_of_shape(shape)
        assert parameters.problem(device.capabilities) is None
        with tuning.forced(parameters):
            plan = matmul.plan_matmul(device, "test", FLOAT, 67, 75, 300, out_shape=(67, 75))
        np.testing.assert_array_equal(plan_harness.run(plan, [a, b])[0], a @ b)

    def test_tiles_follow_the_parameters(self):
        device = plan_harness.device_of_shape("gpu")
        for tile in (MatmulGpu(32, 64, 4, 4, 8, 2), MatmulGpu(32, 32, 8, 4, 4, 2)):
            with tuning.forced(tile):
                plan = matmul.plan_matmul(device, "test", FLOAT, 640, 640, 64, out_shape=(640, 640))
            assert plan.steps[0].local_size == (tile.group, 1, 1)

    @pytest.mark.parametrize("kind", FAMILIES.values())
    def test_changes_that_are_tried_are_usable_and_the_least_come_first(self, device, kind):
        capabilities = dataclasses.replace(
            device.capabilities, max_work_group_size=256, local_memory=32768, vector_bytes=32
        )
        start = kind.default(capabilities)
        tries = start.tries()
        found = [start.with_change(change, capabilities) for change in tries]
        usable = [other for other in found if other is not None]
        assert start not in usable
        assert len(usable) > 4
        for other in usable:
            assert kind.read(other.as_dict(), capabilities) == other
        apart = [len(change.items() - start.as_dict().items()) for change in tries]
        assert apart == sorted(apart)
