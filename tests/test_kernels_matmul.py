"""The matrix-product planner: tiles and their edges, every operand layout, both kernel shapes.

Operands are small integers, so results are exact in every dtype and in any order of summation.
"""

import dataclasses

import numpy as np
import plan_harness
import pytest

from clgrad import memory
from clgrad.device import current_context
from clgrad.kernels import expr, matmul, matmul_cpu, matmul_gpu, product
from clgrad.kernels.epilogue import Epilogue

FLOAT = np.dtype("float32")
SHAPES = ("cpu", "gpu")
DTYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8"]
#: Names of the tests' layouts: is A, is B stored transposed.
LAYOUTS = {"NN": (False, False), "NT": (False, True), "TN": (True, False), "TT": (True, True)}


def device(shape):
    """The device as it is (``own``), or seen as a poor one of the kind."""
    own = current_context().device
    return own if shape == "own" else plan_harness.device_of_shape(shape)


def integers(rng, shape, dtype, low=-3, high=4):
    return rng.integers(0 if np.dtype(dtype).kind == "u" else low, high, shape).astype(dtype)


def multiply(
    kernel_shape, rng, m, n, k, *, batch=1, dtype=FLOAT, layout="NN", a_batched=True,
    b_batched=True, bias=None,
):  # fmt: skip
    """Plan and run one product; returns the result and numpy's."""
    dtype = np.dtype(dtype)
    transpose_a, transpose_b = LAYOUTS[layout]
    a = integers(rng, (batch if a_batched else 1, *((k, m) if transpose_a else (m, k))), dtype)
    b = integers(rng, (batch if b_batched else 1, *((n, k) if transpose_b else (k, n))), dtype)
    inputs = [a, b]
    if bias:
        inputs.append(integers(rng, m if bias == "row" else n, dtype))
    plan = matmul.plan_matmul(
        device(kernel_shape), "test_matmul", dtype, m, n, k, batch=batch, transpose_a=transpose_a,
        transpose_b=transpose_b, a_batched=a_batched, b_batched=b_batched, bias=bias,
        out_shape=(batch, m, n),
    )  # fmt: skip
    (c,) = plan_harness.run(plan, inputs)
    return c, reference(inputs, transpose_a, transpose_b, bias).astype(dtype)


def reference(inputs, transpose_a, transpose_b, bias):
    exact = np.float64 if inputs[0].dtype.kind == "f" else np.int64
    a, b, *rest = (x.astype(exact) for x in inputs)
    c = (a.swapaxes(1, 2) if transpose_a else a) @ (b.swapaxes(1, 2) if transpose_b else b)
    if bias:
        c = c + (rest[0][:, None] if bias == "row" else rest[0])
    return c


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 7), (33, 65, 17), (64, 64, 64), (50, 10, 70)])
def test_every_layout_and_edge(kernel_shape, layout, size, rng):
    """A wrong stride, a tile edge that is stored too far or too short (canaries) breaks this."""
    c, expected = multiply(kernel_shape, rng, *size, layout=layout)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiles_of_the_device_itself(layout, rng):
    """Packed A, k in several blocks, and row chunks that do not divide m: the large shapes."""
    c, expected = multiply("own", rng, 301, 517, 1100, layout=layout)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("bias", [None, "row", "column"])
def test_deep_products_of_operands_across_k_are_transposed(bias, rng):
    """Gradients of weights: operands or a bias that are not exchanged with the rest."""
    c, expected = multiply("cpu", rng, 75, 35, matmul_cpu._DEEP + 6, layout="TN", bias=bias)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(1, 300, 150), (300, 1, 150), (2, 40, 0)])
def test_vectors_and_empty_sums(layout, size, rng):
    """Swapped operands must swap everything; a sum over nothing is 0, not what memory held."""
    c, expected = multiply("own", rng, *size, layout=layout)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("bias", [None, "row", "column"])
@pytest.mark.parametrize("size", [(1, 6, 37), (4, 35, 70), (35, 3, 70)])
def test_few_inner_products(size, bias, rng):
    """The kernel that packs nothing: columns, lanes and rows that do not fill its vectors."""
    c, expected = multiply("cpu", rng, *size, layout="NT", batch=2, bias=bias)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("kernel_shape", ["own", *SHAPES])
@pytest.mark.parametrize("bias", [None, "row", "column"])
def test_sum_split_along_k(kernel_shape, bias, rng):
    """Partial sums lost, or a bias that each of the splits adds, break this."""
    c, expected = multiply(kernel_shape, rng, 5, 7, 5000, bias=bias, layout="TN")
    np.testing.assert_array_equal(c, expected)


def test_split_is_what_the_test_above_runs():
    """Holds the planner to splitting a long sum of few elements over the cores."""
    plan = matmul.plan_matmul(device("gpu"), "test_matmul", FLOAT, 5, 7, 5000, out_shape=(5, 7))
    assert [step.kernel for step in plan.steps] == ["test_matmul", "test_matmul_sum"]


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("shared", ["none", "a", "b"])
def test_batches(kernel_shape, shared, rng):
    """A batch stride applied to an operand that all products share breaks this."""
    c, expected = multiply(
        kernel_shape, rng, 13, 21, 9, batch=3, a_batched=shared != "a", b_batched=shared != "b"
    )
    np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("size", [(20, 70, 30), (40, 2, 30)])
@pytest.mark.parametrize("bias", ["row", "column"])
def test_bias(kernel_shape, bias, size, rng):
    """Rows taken for columns, tiles or edges without bias, and swapped operands break this."""
    c, expected = multiply(kernel_shape, rng, *size, bias=bias)
    np.testing.assert_array_equal(c, expected)


#: Whole tiles and edges; one whose factors are swapped; the kernel that packs nothing; a sum that is split.
FINISHED = [
    (64, 64, 30, "NN"),
    (20, 70, 30, "TN"),
    (40, 2, 30, "NN"),
    (3, 35, 70, "NT"),
    (5, 7, 5000, "NN"),
]


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("size", FINISHED)
@pytest.mark.parametrize("bias", [None, "column"])
def test_epilogue(kernel_shape, size, bias, rng):
    """Two results of the product, an array and a number; a bias comes first, and each split ends bare."""
    m, n, k, layout = size
    transpose_a, transpose_b = LAYOUTS[layout]
    a = integers(rng, (2, *((k, m) if transpose_a else (m, k))), FLOAT)
    b = integers(rng, (2, *((n, k) if transpose_b else (k, n))), FLOAT)
    inputs = [a, b] + ([integers(rng, n, FLOAT)] if bias else [])
    residual = integers(rng, (2, m, n), FLOAT)
    x, r, s = expr.operand(0, FLOAT), expr.operand(1, FLOAT), expr.scalar(0, FLOAT)
    shape_device = device(kernel_shape)
    finish = Epilogue(
        (x * s + r, expr.where(x > 0, x, 0)), (FLOAT,), (FLOAT,), shape_device.capabilities.own_functions
    )
    plan = matmul.plan_matmul(
        shape_device, "test_matmul", FLOAT, m, n, k, batch=2, transpose_a=transpose_a,
        transpose_b=transpose_b, bias=bias, epilogue=finish, out_shape=(2, m, n),
    )  # fmt: skip
    scaled, positive = plan_harness.run(plan, [*inputs, residual], [3.0])
    expected = reference(inputs, transpose_a, transpose_b, bias)
    np.testing.assert_array_equal(scaled, expected * 3 + residual)
    np.testing.assert_array_equal(positive, np.maximum(expected, 0))


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("layout", ["NN", "NT"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(kernel_shape, dtype, layout, rng):
    """float16 sums as float and rounds once; integers keep their type and wrap around."""
    if dtype == "float64" and not current_context().device.capabilities.fp64:
        pytest.skip("the device has no fp64")
    c, expected = multiply(kernel_shape, rng, 19, 45, 40, dtype=dtype, layout=layout)
    np.testing.assert_array_equal(c, expected)


def _upload(stream, host):
    view = memory.empty(stream, host.shape, host.dtype)
    memory.upload(stream, host, view)
    return view


def test_accumulates_into_the_output(rng):
    """A product that overwrites what it should add to breaks this, in whole tiles and at edges."""
    a, b = integers(rng, (70, 40), FLOAT), integers(rng, (40, 50), FLOAT)
    before = integers(rng, (70, 50), FLOAT)
    own = current_context().device
    plan = matmul.plan_matmul(own, "test_matmul", FLOAT, 70, 50, 40, accumulate=True, out_shape=(70, 50))
    stream = memory.current_stream(own)
    views = [_upload(stream, x) for x in (a, b, before)]
    plan.run(stream, views[:2], outputs=views[2:])
    np.testing.assert_array_equal(memory.download(stream, views[2]), before + a @ b)


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_offsets_of_64_bits(kernel_shape, rng, monkeypatch):
    """The kernels for arrays of 2^31 elements and more, on small ones: they build and agree."""
    for module in (product, matmul_cpu, matmul_gpu):
        monkeypatch.setattr(module, "index_wide", lambda product, splits=1: True)
    c, expected = multiply(kernel_shape, rng, 33, 65, 17, layout="NT", batch=2)
    np.testing.assert_array_equal(c, expected)


def test_large_arrays_are_indexed_in_64_bits():
    matrix = product.matrix(8, 8, False, 1)
    small = product.Product(FLOAT, 8, 8, 8, 1, a=matrix, b=matrix, c=matrix)
    far = dataclasses.replace(matrix, row=product.Axis(((8, 1 << 29),)))
    assert not product.index_wide(small)
    assert product.index_wide(dataclasses.replace(small, a=far))


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ([(3, 4), (4, 1)], ((12, 1),)),
        ([(3, 8), (4, 1)], ((4, 1), (3, 8))),
        ([(3, 8), (1, 5), (4, 2)], ((12, 2),)),
        ([(1, 7)], ((1, 1),)),
    ],
)
def test_axis_digits_are_merged_where_they_form_one_stride(digits, expected):
    assert product.Axis.of(*digits).digits == expected
