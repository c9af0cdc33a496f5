"""Matrix products on tensor cores, without any: kernels on a stand-in.

It has the instructions in OpenCL C (templates/tensor_standin.mako), and is held against the tables of the
PTX ISA; all else of the kernels is what runs on a GPU (tests/test_tensor_ptx.py looks at that). Operands
are small integers, so results are exact.
"""

import dataclasses
import functools
import re
from types import SimpleNamespace

import numpy as np
import plan_harness
import pytest
import test_kernels_conv
from mako.template import Template
from ptx_machine import FRAGMENTS

import clgrad
from clgrad import dtypes, memory
from clgrad.device import capabilities, current_context
from clgrad.kernels import conv, expr, matmul, matmul_gpu, matmul_tensor, template, tuning
from clgrad.kernels.conv import ConvGeometry
from clgrad.kernels.epilogue import Epilogue
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.parameters import TensorGpu
from clgrad.kernels.product import matrix

LAYOUTS = {"NN": (False, False), "NT": (False, True), "TN": (True, False), "TT": (True, True)}
#: Two warps, each of 1 x 4 of an instruction's tiles; and a ring that is shorter than the sums.
TILE = TensorGpu(32, 64, 32, 32, 64, 3, 1)


class Nvidia(plan_harness.PoorestGpu):
    """The device under test, seen as a GPU with tensor cores."""

    def __init__(self, device, **limits):
        super().__init__(device)
        usual = {"tensor_cores": True, "local_memory": 1 << 15, "compute_units": 1}
        self.capabilities = dataclasses.replace(self.capabilities, **(usual | limits))


@functools.cache
def device() -> Nvidia:
    return Nvidia(current_context().device)


@pytest.fixture(autouse=True)
def tf32(monkeypatch):
    """What a test allows, it allows itself."""
    monkeypatch.setattr(matmul_tensor, "_allowed", True)


@pytest.fixture
def standin(monkeypatch):
    """Make kernels on the stand-in, with early or late copies, and leave out the proof at first use.

    Where there are tensor cores, these take its place.
    """
    known = {(device(), dtype): True for dtype in matmul_tensor.KINDS}
    monkeypatch.setattr(matmul_tensor, "_proven", known)

    def use(copies: str) -> None:
        values = {"instructions": "tensor_standin.mako", "late": copies == "late"}
        if not current_context().device.capabilities.tensor_cores:
            monkeypatch.setattr(matmul_tensor, "_instructions", values)

    use("late")
    with tuning.forced(TILE):
        yield use


def integers(rng, shape, dtype):
    return rng.integers(-3, 4, shape).astype(dtype)


def operands(rng, m, n, k, dtype, layout, batch=()):
    """A and B as they are stored, and what they are."""
    a, b = integers(rng, (*batch, m, k), dtype), integers(rng, (*batch, k, n), dtype)
    turned = [x.swapaxes(-1, -2) if t else x for x, t in zip((a, b), LAYOUTS[layout], strict=True)]
    return [np.ascontiguousarray(x) for x in turned], a.astype(np.float32), b.astype(np.float32)


def plan_of(m, n, k, dtype, layout="NN", **options) -> Plan:
    transpose_a, transpose_b = LAYOUTS[layout]
    shape = (options.get("batch", 1), m, n)
    return matmul.plan_matmul(
        device(), "test_tensor", dtype, m, n, k, transpose_a=transpose_a, transpose_b=transpose_b,
        out_shape=shape, **options,
    )  # fmt: skip


# The stand-in itself


def words_of(values, kind):
    """The bits that registers hold: 32 of tf32, or pairs of 16."""
    if kind == "tf32":
        return values.astype(np.float32).view(np.uint32)
    dtype = np.float16 if kind == "f16" else dtypes.bfloat16
    return np.ascontiguousarray(values.astype(dtype)).view(np.uint16).view(np.uint32)


PROBE = """<%namespace name="tensor" file="tensor_standin.mako"/>\\
${tensor.functions()}
__kernel void probe(
    ${signature})
{
  const int item = get_local_id(0), lane = item % 32;
  ${tensor.declarations()}
  __local uint4 slab[64];
  slab[item] = vload4(item, words);
  slab[item + 32] = vload4(item + 32, words);
  barrier(CLK_LOCAL_MEM_FENCE);
  ${tensor.ldmatrix("plain", "slab", "item * 2 + 1", False)}
  ${tensor.ldmatrix("turned", "slab", "item * 2 + 1", True)}
  vstore4(plain, item, found);
  vstore4(turned, item + 32, found);
  float4 sum = vload4(item, c);
  ${tensor.mma("sum", "vload4(item, a)", "vload2(item, b)")}
  vstore4(sum, item, d);
}
"""


@pytest.mark.parametrize("kind", FRAGMENTS)
def test_standin_holds_what_the_tables_say(kind, rng):
    """A lane or a register in the wrong place, of a fragment or of ldmatrix, breaks this."""
    deep = 8 if kind == "tf32" else 16
    matrices = [integers(rng, shape, np.float32) for shape in ((16, deep), (deep, 8), (16, 8))]
    tables = FRAGMENTS[kind]
    counts = (4, 2, 4) if kind == "tf32" else (8, 4, 4)
    a, b, c = (
        np.array([[x[table(i, lane >> 2, lane % 4)] for i in range(count)] for lane in range(32)])
        for x, table, count in zip(matrices, tables, counts, strict=True)
    )
    words = rng.integers(0, 1 << 32, (64, 4), np.uint32)
    inputs = [words, words_of(a, kind), words_of(b, kind), c]
    found, d = run_probe(kind, inputs)
    expected = matrices[0] @ matrices[1] + matrices[2]
    np.testing.assert_array_equal(
        d, [[expected[tables[2](i, lane >> 2, lane % 4)] for i in range(4)] for lane in range(32)]
    )
    # Lane 8 i + r gave row r of matrix i; lane l gets the pair at (l / 4, 2 (l % 4)), turned or not.
    rows = words[1::2].view(np.uint16).reshape(4, 8, 8)
    for place, matrix_of in ((slice(32), rows), (slice(32, 64), rows.swapaxes(1, 2))):
        pairs = np.ascontiguousarray(matrix_of).view(np.uint32).reshape(4, 32)
        np.testing.assert_array_equal(found[place].T, pairs)


def run_probe(kind, inputs):
    arrays = [
        ("uint", "words"),
        ("uint", "a"),
        ("uint", "b"),
        ("float", "c"),
        ("uint", "found"),
        ("float", "d"),
    ]
    signature = ", ".join(f"__global {kind} *{name}, const ulong {name}_offset" for kind, name in arrays)
    args = [*map(In, range(4)), Out(0), Out(1)]
    source = Template(PROBE, lookup=template._lookup(), strict_undefined=True).render(
        signature=signature, kind=kind, group=32, late=False, stages=2, copies=1
    )
    step = Step("probe", source, (32,), (32,), args)
    outputs = [((64, 4), np.dtype(np.uint32)), ((32, 4), dtypes.float32)]
    stream = memory.current_stream(current_context().device)
    views = []
    for x in inputs:
        views.append(memory.empty(stream, x.shape, x.dtype))
        memory.upload(stream, x, views[-1])
    results = Plan(current_context().device, [step], outputs, len(inputs)).run(stream, views)
    return [memory.download(stream, view) for view in results]


# Products


@pytest.mark.parametrize(
    ("dtype", "layout", "copies"),
    [
        ("float16", "NN", "late"),
        ("float16", "TT", "early"),
        ("bfloat16", "NT", "late"),  # in 64 bits
        ("float32", "NN", "early"),
        ("float32", "TT", "late"),
    ],
)
def test_every_kind_and_layout(dtype, layout, copies, standin, rng, monkeypatch):
    """Five slabs through a ring of three: a short wait, a slot written too soon, a wrong fragment or edge.

    The plan runs on arrays that copies are aligned to, and on others, which are gathered.
    """
    standin(copies)
    dtype = dtypes.resolve(dtype)
    monkeypatch.setattr(matmul_gpu, "index_wide", lambda product: dtype == dtypes.bfloat16)
    inputs, a, b = operands(rng, 72, 88, 136, dtype, layout)
    plan = plan_of(72, 88, 136, dtype, layout)
    assert widths_of_copies(plan) or copies == "early"
    for margin in (64, 37):
        monkeypatch.setattr(plan_harness, "MARGIN", margin)
        (c,) = plan_harness.run(plan, inputs)
        np.testing.assert_array_equal(c[0].astype(np.float32), a @ b)


def widths_of_copies(plan):
    """Of late ones, and of real ones."""
    found = re.findall(r"copy_width\[place\] = (\d+)|\bcopy(\d+)\(\(", plan.steps[0].source)
    return {int(a or b) for a, b in found}


@pytest.mark.parametrize(
    ("dtype", "size", "widths"),
    [
        ("float16", (33, 65, 17), set()),
        ("float16", (33, 84, 38), {4, 8}),
        ("float32", (33, 65, 17), {4}),
    ],
)
def test_rows_of_any_length(dtype, size, widths, standin, rng, monkeypatch):
    """Copies as wide as rows are aligned, or none; tiles that the product fills in part."""
    dtype = dtypes.resolve(dtype)
    inputs, a, b = operands(rng, *size, dtype, "NN")
    plan = plan_of(*size, dtype)
    for margin in (64, 37):
        monkeypatch.setattr(plan_harness, "MARGIN", margin)
        (c,) = plan_harness.run(plan, inputs)
        np.testing.assert_array_equal(c[0].astype(np.float32), a @ b)
    assert widths_of_copies(plan) == widths


def test_batches_bias_and_sum_split_along_k(standin, rng, monkeypatch):
    """Parts of a sum lost, at the wrong place of k, or each with the bias."""
    monkeypatch.setattr(
        device(), "capabilities", dataclasses.replace(device().capabilities, compute_units=9)
    )
    inputs, a, b = operands(rng, 5, 7, 1100, dtypes.float16, "NN", batch=(2,))
    inputs.append(integers(rng, (7,), dtypes.float16))
    plan = plan_of(5, 7, 1100, dtypes.float16, batch=2, bias="column")
    assert [step.kernel for step in plan.steps] == ["test_tensor", "test_tensor_sum"]
    (c,) = plan_harness.run(plan, inputs)
    np.testing.assert_array_equal(c, (a @ b + inputs[2].astype(np.float32)).astype(np.float16))


def test_epilogue(standin, rng):
    """Both neighbours of a pair, each with its own element of the residual, after the bias."""
    inputs, a, b = operands(rng, 33, 65, 17, dtypes.float32, "NN")
    inputs += [integers(rng, (65,), np.float32), integers(rng, (1, 33, 65), np.float32)]
    x, residual = expr.operand(0, dtypes.float32), expr.operand(1, dtypes.float32)
    finish = Epilogue((x * 2 + residual, -x), (dtypes.float32,))
    plan = plan_of(33, 65, 17, dtypes.float32, bias="column", epilogue=finish)
    assert is_tensor(plan)
    doubled, negative = plan_harness.run(plan, inputs)
    product = a @ b + inputs[2]
    np.testing.assert_array_equal(doubled, product * 2 + inputs[3])
    np.testing.assert_array_equal(negative[0], -product)


@pytest.mark.parametrize(
    ("size", "tile", "splits"),
    [
        ((4096, 4096, 4096), (128, 128), 1),
        ((256, 256, 16384), (64, 64), 8),
        ((256, 256, 512), (32, 32), 2),
        ((64, 8192, 64), (32, 64), 1),
    ],
)
def test_tiles_and_splits_of_a_large_device(size, tile, splits):
    """A long sum is split rather than made in small tiles; a short one has no other choice."""
    big = Nvidia(current_context().device, local_memory=49152, max_work_group_size=1024, compute_units=132)
    m, n, k = size
    product = matmul_tensor.Product(
        dtypes.float16, m, n, k, 1, matrix(m, k, False, 1), matrix(k, n, False, 1), matrix(m, n, False, 1)
    )
    steps: list[Step] = []
    matmul_tensor.add_steps(big, "test_tensor", product, {"a": In(0), "b": In(1), "c": Out(0)}, steps, [])
    tiling = next(t for t in TensorGpu.ladder() if (t.tile_m, t.tile_n) == tile)
    expected = (n // tile[1] * tiling.group, m // tile[0], splits)
    assert steps[0].global_size == expected
    assert len(steps) == (2 if splits > 1 else 1)


def test_convolution(standin, rng, monkeypatch):
    """Windows are gathered, with zeros for the padding; groups; two phases of the gradient."""
    monkeypatch.setattr(test_kernels_conv, "device", lambda shape: device())
    g = ConvGeometry(2, 6, 70, (13, 9), (3, 2), (1, 2), (2, 1), (2, 1), groups=2)
    with tuning.forced(TensorGpu(*TensorGpu.TILES[-1], 1)):
        test_kernels_conv.check_all("own", g, rng, dtypes.float16)


def test_pointwise_convolution(standin, rng, monkeypatch):
    """Copied as it lies, without windows: from image to image there is a gap, but not within a chunk."""
    standin("early")
    monkeypatch.setattr(test_kernels_conv, "device", lambda shape: device())
    monkeypatch.setattr(plan_harness, "MARGIN", 64)
    g = ConvGeometry(3, 10, 70, (5, 8), (1, 1), groups=2)
    test_kernels_conv.check_all("own", g, rng, dtypes.float32)
    plan = conv.plan_grad_weight(device(), "test_conv_weight", dtypes.float32, g)
    assert "b_image" not in plan.steps[0].source


def test_infinity_and_nan_stay_in_their_rows(standin, rng):
    """What lies outside is 0, but 0 times infinity is NaN: edges of k must be 0 on both sides."""
    inputs, a, _ = operands(rng, 40, 33, 17, dtypes.float16, "NN")
    inputs[0][3, 16], inputs[0][5, 0] = np.inf, np.nan
    inputs[1][16] = 1
    (c,) = plan_harness.run(plan_of(40, 33, 17, dtypes.float16), inputs)
    assert np.isposinf(c[0, 3]).all()
    assert np.isnan(c[0, 5]).all()
    rest = np.delete(np.arange(40), [3, 5])
    np.testing.assert_array_equal(c[0, rest], (a @ inputs[1].astype(np.float32))[rest])


def test_tf32_is_the_nearest(standin, rng):
    """Operands that are cut off instead of rounded are off twice as far. NaN does not become a number."""
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((33, 17), (17, 65)))
    a[0, 0], a[1, 0], a[2, 0] = np.uint32([0x7FFFFFFF, 0x7F800001, 0xFF800000]).view(np.float32)
    (c,) = plan_harness.run(plan_of(33, 65, 17, dtypes.float32), [a, b])
    assert np.isnan(c[0, :2]).all()
    np.testing.assert_array_equal(c[0, 2], -np.copysign(np.inf, b[0]))
    a, c = a[3:], c[:, 3:]
    rounded = [((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32) for x in (a, b)]
    np.testing.assert_allclose(c[0], rounded[0] @ rounded[1], rtol=0, atol=3e-5)
    assert np.abs(c[0] - a @ b).max() > 1e-4


# What is left to the plain kernels


@pytest.mark.parametrize(
    ("extensions", "major", "expected"),
    [("cl_nv_device_attribute_query", 9, True), ("cl_nv_device_attribute_query", 7, False), ("", 9, False)],
)
def test_devices_that_have_them(extensions, major, expected):
    asked = SimpleNamespace(compute_capability_major_nv=major)
    assert capabilities._has_tensor_cores(asked, {extensions, "cl_khr_fp64"}) == expected


def test_limits_leave_them_alone():
    assert device().capabilities.tensor_cores
    assert not device().capabilities.limited({"tensor_cores": 0}).tensor_cores


def is_tensor(plan):
    return "slab_a[" in plan.steps[0].source and "mma(" in plan.steps[0].source


def test_tf32_only_where_it_is_allowed(standin, monkeypatch):
    standin("early")
    monkeypatch.setattr(matmul_tensor, "_allowed", None)
    assert not is_tensor(plan_of(8, 8, 8, dtypes.float32))
    monkeypatch.setenv("CLGRAD_ALLOW_TF32", "1")
    assert is_tensor(plan_of(8, 8, 8, dtypes.float32))
    monkeypatch.setenv("CLGRAD_ALLOW_TF32", "yes")
    with pytest.raises(clgrad.MXNetError, match="CLGRAD_ALLOW_TF32: cannot read 'yes'; accepted are"):
        plan_of(8, 8, 8, dtypes.float32)


def test_what_is_allowed_holds_for_shapes_that_were_planned_before(monkeypatch):
    monkeypatch.setattr(matmul_tensor, "_allowed", False)
    x = clgrad.nd.ones((2, 2))
    clgrad.nd.dot(x, x)
    plans = memory.current_stream(current_context().device).plans
    assert not clgrad.allow_tf32()
    assert len(plans) == 0
    clgrad.nd.dot(x, x)
    assert clgrad.allow_tf32()
    assert len(plans) == 1
    assert clgrad.allow_tf32(False)


@pytest.mark.parametrize("dtype", [dtypes.float64, dtypes.int32])
def test_other_dtypes_are_not_taken(dtype, standin):
    wanted = matmul_tensor.Product(dtype, 8, 8, 8, 1, *[matrix(8, 8, False, 1)] * 3)
    assert not matmul_tensor.takes(device(), wanted)


class TestProof:
    """At first use."""

    @pytest.fixture(autouse=True)
    def unproven(self, standin, monkeypatch):
        monkeypatch.setattr(matmul_tensor, "_proven", {})
        with tuning.forced(TensorGpu(*TensorGpu.TILES[-1], 1)):
            yield

    def test_right_products(self):
        assert is_tensor(plan_of(8, 8, 8, dtypes.float32))
        assert matmul_tensor._proven == {(device(), dtypes.float32): True}

    def test_wrong_products(self, monkeypatch):
        right = matmul_tensor._uploaded
        monkeypatch.setattr(matmul_tensor, "_uploaded", lambda s, x, offset: right(s, x + 1, offset))
        with pytest.warns(RuntimeWarning, match="tensor cores of .* alone for float32.* came out wrong"):
            assert not is_tensor(plan_of(8, 8, 8, dtypes.float32))
        assert not is_tensor(plan_of(9, 9, 9, dtypes.float32))  # says so once

    def test_driver_that_does_not_know_the_instructions(self, monkeypatch):
        """No CPU's compiler does."""
        if current_context().device.capabilities.tensor_cores:
            pytest.skip("the device under test knows the instructions")
        monkeypatch.setattr(matmul_tensor, "_instructions", {"instructions": "tensor_ptx.mako"})
        with pytest.warns(RuntimeWarning, match=r"\(driver .*does not build") as caught:
            assert not is_tensor(plan_of(8, 8, 8, dtypes.bfloat16))
        assert len(str(caught[0].message)) < 2000
