"""The kernels for tensor cores as NVIDIA's driver gets them: addresses, and what clang and ptxas say.

Where these are not on the PATH, the tests that need them are skipped. Any clang with NVPTX does, and the
ptxas of any CUDA that knows sm_80.
"""

import dataclasses
import functools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import plan_harness
import pytest
from ptx_machine import Machine

from clgrad import dtypes
from clgrad.device import current_context
from clgrad.kernels import matmul_tensor, tuning
from clgrad.kernels.launch import In, Out, Step
from clgrad.kernels.parameters import TensorGpu
from clgrad.kernels.product import Product, matrix

pytestmark = pytest.mark.once

LAYOUTS = {"NN": (False, False), "NT": (False, True), "TN": (True, False), "TT": (True, True)}
CLANG = next(filter(None, map(shutil.which, ["clang", *(f"clang-{n}" for n in range(15, 23))])), None)
needs_clang = pytest.mark.skipif(CLANG is None, reason="clang is not here")


class Nvidia(plan_harness.PoorestGpu):
    """The device under test, seen as an NVIDIA GPU of a single multiprocessor."""

    def __init__(self, device):
        super().__init__(device)
        self.capabilities = dataclasses.replace(
            self.capabilities, local_memory=49152, max_work_group_size=1024, compute_units=1
        )


@functools.cache
def step_of(dtype: str, layout: str, tile: TensorGpu, m: int, n: int, k: int) -> Step:
    """The launch of a product."""
    a, b = (
        matrix(*shape, turned, 1) for shape, turned in zip(((m, k), (k, n)), LAYOUTS[layout], strict=True)
    )
    product = Product(dtypes.resolve(dtype), m, n, k, 1, a, b, matrix(m, n, False, 1))
    steps: list[Step] = []
    with tuning.forced(tile):
        roles = {"a": In(0), "b": In(1), "c": Out(0)}
        matmul_tensor.add_steps(Nvidia(current_context().device), "product", product, roles, steps, [])
    return steps[0]


def ptx_of(step: Step, folder: Path) -> Path:
    """The kernel as PTX, made by clang in the place of NVIDIA's compiler."""
    (folder / "kernel.cl").write_text(step.source)
    subprocess.run(
        [CLANG, "-target", "nvptx64", "-x", "cl", "-cl-std=CL1.2", "-fgnu-keywords", "-O3", "-S",
         "-Xclang", "-finclude-default-header", "-Xclang", "-fdeclare-opencl-builtins",
         "-Xclang", "-target-cpu", "-Xclang", "sm_80", "-Xclang", "-target-feature", "-Xclang", "+ptx75",
         "-include", Path(__file__).with_name("nvptx_prelude.cl"), "kernel.cl", "-o", "kernel.ptx"],
        cwd=folder, check=True,
    )  # fmt: skip
    return folder / "kernel.ptx"


def evaluated(expression: str, **names):
    """A C expression of integers, for arrays of them."""
    return eval(expression.replace("/", "//"), {}, names)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("tile", [*TensorGpu.TILES, (128, 128, 64, 64, 32, 2), (64, 256, 32, 64, 128, 2)])
def test_no_bank_conflicts(dtype, layout, tile):
    """By the addresses in the source: 8 chunks at a time, or 32 words, of different banks."""
    tiling = TensorGpu(*tile, 1)
    source = step_of(dtype, layout, tiling, 1024, 1024, 1024).source
    lane = np.arange(32)
    item = np.arange(tiling.group)
    corners = [
        {"slot": 1, "step": step, "warp_i": i, "warp_j": j, "lane": lane}
        for step in range(0, tiling.depth_bytes // 16, 2)
        for i in range(0, tiling.tile_m, tiling.warp_m)
        for j in range(0, tiling.tile_n, tiling.warp_n)
    ]
    first = dict(re.findall(r"const int (._at)\[\d\] = \{(.*)\};", source))
    chunks = re.findall(r"= ldmatrix\w*\(slab_. \+ \((.*)\)\);", source)
    words = re.findall(r"round_tf32\(\(\(__local const uint \*\)slab_.\)\[(.*?)\]\)", source)
    assert len(chunks) + len(words) // 4 == (tiling.warp_m + tiling.warp_n) // 16
    for names in corners:
        names |= {name: evaluated(f"[{places}]", **names) for name, places in first.items()}
        for expression in chunks:
            at = evaluated(expression, **names).reshape(4, 8)
            assert all(len(set(phase % 8)) == 8 for phase in at)
        for expression in words:
            assert len(set(evaluated(expression, **names) % 32)) == 32
    stores = re.findall(r"slab_.\[free_slot \* (.*)\] = next_", source)
    copies = re.findall(r"slab_. \+ \(free_slot \* (.*?)\)\), ", source)
    assert len(stores) == len(copies)
    assert len(stores) == (tiling.tile_m + tiling.tile_n) * tiling.depth_bytes // 16 // tiling.group
    for expression in (*stores, *copies):
        at = evaluated(expression, item=item)
        assert len(set(at)) == tiling.group
        assert all(len(set(phase % 8)) == 8 for phase in at.reshape(-1, 8))


@needs_clang
@pytest.mark.parametrize(
    ("dtype", "layout", "offset", "tile"),
    [
        ("float16", "NN", 0, (32, 32, 16, 32, 64, 3)),
        ("float16", "TT", 1, (32, 32, 16, 32, 64, 3)),
        ("bfloat16", "NT", 0, (32, 32, 16, 32, 64, 3)),
        ("float32", "TT", 0, (32, 32, 16, 32, 64, 3)),
        ("float16", "TN", 0, (64, 128, 64, 128, 64, 2)),
        ("float32", "NN", 0, (128, 64, 128, 64, 32, 2)),
    ],
)
def test_ptx_computes_products(dtype, layout, offset, tile, tmp_path, rng):
    """On a machine of our own: operands of inline assembly in another order, or moved across a barrier.

    With as many tiles in a warp as there may be, the last fragments lie far from the first.
    """
    m, n, k = (40, 24, 104) if tile[0] == 32 else (tile[0] - 8, tile[1] - 8, 72)
    dtype = dtypes.resolve(dtype)
    step = step_of(dtype.name, layout, TensorGpu(*tile, 1), m, n, k)
    a, b = (rng.integers(-3, 4, shape) for shape in ((m, k), (k, n)))
    stored = [x.T if turned else x for x, turned in zip((a, b), LAYOUTS[layout], strict=True)]
    arrays = [np.concatenate([np.zeros(offset), x.ravel()]).astype(dtype) for x in stored]
    arrays.append(np.zeros(m * n, dtype))
    arguments: list[object] = []
    for x in step.args:
        known = {In: [arrays[getattr(x, "index", 0)], offset], Out: [arrays[2], 0]}
        arguments += known.get(type(x), [x])
    groups = tuple(whole // part for whole, part in zip(step.global_size, step.local_size, strict=True))
    Machine(ptx_of(step, tmp_path).read_text(), "product").run(arguments, step.local_size[0], groups)
    np.testing.assert_array_equal(arrays[2].reshape(m, n).astype(int), a @ b)


@needs_clang
@pytest.mark.skipif(not shutil.which("ptxas"), reason="NVIDIA's assembler is not here")
@pytest.mark.parametrize(
    ("dtype", "layout", "size"),
    [("float16", "NN", 1024), ("bfloat16", "TT", 1023), ("float32", "NN", 1024), ("float32", "TT", 1022)],
)
def test_assembles(dtype, layout, size, tmp_path):
    """A misspelt instruction; an array that lies in memory."""
    ptx_of(step_of(dtype, layout, TensorGpu(*TensorGpu.TILES[0], 1), size, size, size), tmp_path)
    for target in ("sm_80", "sm_90"):
        told = subprocess.run(
            ["ptxas", "-v", f"-arch={target}", "kernel.ptx", "-o", "kernel.bin"],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        spilt = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", told.stderr + told.stdout)
        assert max(map(int, spilt.groups())) <= 64, "of 128 accumulators and their fragments"
