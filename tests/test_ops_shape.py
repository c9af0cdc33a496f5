"""Ops that move elements: reshaping, transposing, slicing, joining, repeating; with gradients."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.test_utils import gradcheck, gradgradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "reshape": ("_with_shape",),
    "reshape_like": (),
    "flatten": (),
    "expand_dims": (),
    "squeeze": (),
    "slice": ("_leading_slice", "_row", "_strided_slice", "_slice_grad"),
    "slice_axis": (),
    "slice_like": (),
    "flip": (),
    "transpose": (),
    "swapaxes": (),
    "moveaxis": (),
    "broadcast_to": ("_sum_to",),
    "broadcast_like": (),
    "broadcast_axis": (),
    "concat": (),
    "concatenate": (),
    "stack": (),
    "split": (),
    "add_n": (),
}

DTYPES = [
    "float32",
    pytest.param("float64", marks=pytest.mark.requires("fp64")),
    "float16",
    "int64",
    "int32",
    "int8",
    "uint8",
    "bool",
]


def counted(*shape) -> np.ndarray:
    """Elements that are all different."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def shares_memory(part: nd.NDArray, whole: nd.NDArray) -> bool:
    return part.handle == whole.handle


# Reshaping


@pytest.mark.parametrize(
    ("old", "codes", "new"),
    [
        # the examples of MXNet's documentation of reshape
        ((2, 3, 4), (4, 0, 2), (4, 3, 2)),
        ((2, 3, 4), (2, 0, 0), (2, 3, 4)),
        ((2, 3, 4), (6, 1, -1), (6, 1, 4)),
        ((2, 3, 4), (3, -1, 8), (3, 1, 8)),
        ((2, 3, 4), (-1,), (24,)),
        ((2, 3, 4), (-2,), (2, 3, 4)),
        ((2, 3, 4), (2, -2), (2, 3, 4)),
        ((2, 3, 4), (-2, 1, 1), (2, 3, 4, 1, 1)),
        ((2, 3, 4), (-3, 4), (6, 4)),
        ((2, 3, 4, 5), (-3, -3), (6, 20)),
        ((2, 3, 4), (0, -3), (2, 12)),
        ((2, 3, 4), (-3, -2), (6, 4)),
        ((2, 3, 4), (-4, 1, 2, -2), (1, 2, 3, 4)),
        ((2, 3, 4), (2, -4, -1, 3, -2), (2, 1, 3, 4)),
        # several at once
        ((8, 3, 3, 3, 4, 4), (0, -4, 1, -1, -3, -3), (8, 1, 3, 9, 16)),
        ((30, 12), (-4, 5, -1, -4, -1, 4), (5, 6, 3, 4)),
        ((10, 5, 4), (-1, 0), (40, 5)),
        ((1,), (), ()),
        ((), (1, 1), (1, 1)),
        ((0, 3), (0, 3), (0, 3)),
        ((0, 3), (-1,), (0,)),
    ],
)
def test_reshape_codes(old, codes, new):
    x = counted(*old)
    y = nd.array(x).reshape(codes)
    assert y.shape == new
    np.testing.assert_array_equal(y.asnumpy(), x.reshape(new))


def test_reshape_codes_from_the_right():
    assert nd.zeros((10, 5, 4)).reshape((-1, 0), reverse=True).shape == (50, 4)
    assert nd.zeros((2, 3, 4)).reshape((0, -3), reverse=True).shape == (2, 12)
    # matched from the right, -4 stands behind its two factors
    assert nd.zeros((2, 12)).reshape((-2, 3, -1, -4), reverse=True).shape == (2, 3, 4)


def test_ways_to_give_a_shape():
    x = nd.zeros((2, 6))
    assert x.reshape(3, 4).shape == x.reshape([3, 4]).shape == x.reshape(shape=(3, 4)).shape == (3, 4)
    assert nd.reshape(x, (3, -1)).shape == nd.Reshape(x, shape=(3, 4)).shape == (3, 4)
    assert x.reshape(-1).shape == (12,)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ((5, -1), r"reshape: shape is \(5, -1\); accepted: sizes whose product divides 24"),
        (
            (5, 5),
            r"reshape: shape is \(5, 5\); accepted: a product of 24, the elements of \(2, 3, 4\)",
        ),
        ((-1, -1), r"reshape: shape is \(-1, -1\); accepted: at most one -1"),
        ((-3, -3), r"reshape: shape is \(-3, -3\); accepted: codes that match the sizes"),
        ((-4, 2, 2, 0, 0), r"reshape: .*; accepted: two factors of 2 after -4"),
        ((-4, -1, -1, 0, 0), r"reshape: .*; accepted: at most one -1 after -4"),
        ((-4, 2), r"reshape: .*; accepted: two sizes after -4"),
        ((-5, 1), r"reshape: .*; accepted: sizes and the codes"),
        ((0, 0, 0, 0), r"reshape: .*; accepted: codes that match the sizes"),
    ],
)
def test_bad_codes_are_named(codes, message):
    with pytest.raises(OperatorError, match=message):
        nd.zeros((2, 3, 4)).reshape(codes)


@pytest.mark.parametrize(
    ("f", "shape"),
    [
        pytest.param(lambda x: x.reshape((3, 8)), (3, 8), id="reshape"),
        pytest.param(lambda x: x.flatten(), (2, 12), id="flatten"),
        pytest.param(lambda x: nd.Flatten(x), (2, 12), id="Flatten"),
        pytest.param(lambda x: x.expand_dims(axis=-1), (2, 1, 3, 4, 1), id="expand_dims last"),
        pytest.param(lambda x: nd.expand_dims(x, axis=0), (1, 2, 1, 3, 4), id="expand_dims first"),
        pytest.param(lambda x: x.squeeze(), (2, 3, 4), id="squeeze"),
        pytest.param(lambda x: x.squeeze(axis=1), (2, 3, 4), id="squeeze axis"),
        pytest.param(lambda x: nd.squeeze(x, axis=(-3,)), (2, 3, 4), id="squeeze axes"),
        pytest.param(lambda x: nd.reshape_like(x, nd.zeros((4, 6))), (4, 6), id="reshape_like"),
    ],
)
def test_relabelled_memory_is_shared(f, shape):
    host = counted(2, 1, 3, 4)
    x = nd.array(host)
    y = f(x)
    assert y.shape == shape
    assert shares_memory(y, x)
    np.testing.assert_array_equal(y.asnumpy(), host.reshape(shape))
    y[:] = 7
    np.testing.assert_array_equal(x.asnumpy(), np.full_like(host, 7))


def test_squeeze_keeps_an_axis():
    assert nd.ones((1, 1)).squeeze().shape == (1,)
    with pytest.raises(OperatorError, match=r"squeeze: axis is 1; accepted: axes of size 1 of \(1, 3\)"):
        nd.ones((1, 3)).squeeze(axis=1)
    with pytest.raises(OperatorError, match="expand_dims: axis is 4; accepted: -3 to 2"):
        nd.ones((1, 3)).expand_dims(axis=4)


# Axes


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_of_every_dtype(dtype, rng):
    x = rng.integers(0, 2 if dtype == "bool" else 100, (19, 35)).astype(dtype)
    y = nd.transpose(nd.array(x, dtype=dtype))
    assert np.dtype(y.dtype) == dtype
    np.testing.assert_array_equal(y.asnumpy(), x.T)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5,), ()),
        ((3, 17), (1, 0)),
        ((3, 4, 17), (0, 2, 1)),
        ((3, 4, 17), (2, 0, 1)),
        ((3, 4, 17), (-1, 0, -2)),
        ((2, 3, 4, 5), (2, 3, 0, 1)),
        ((2, 3, 4, 5), (0, 2, 1, 3)),
        ((1, 7, 1, 3), (3, 2, 1, 0)),
        ((2, 0, 3), (1, 2, 0)),
        ((70, 130), ()),
    ],
)
def test_transpose(shape, axes):
    x = counted(*shape)
    expected = x.transpose(axes or None)
    y = nd.transpose(nd.array(x), axes=axes)
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.asnumpy(), expected)


def test_ways_to_transpose():
    x = counted(2, 3, 4)
    y = nd.array(x)
    np.testing.assert_array_equal(y.T.asnumpy(), x.T)
    np.testing.assert_array_equal(y.transpose(2, 0, 1).asnumpy(), x.transpose(2, 0, 1))
    np.testing.assert_array_equal(y.transpose((2, 0, 1)).asnumpy(), x.transpose(2, 0, 1))
    np.testing.assert_array_equal(y.transpose(axes=(2, 0, 1)).asnumpy(), x.transpose(2, 0, 1))
    np.testing.assert_array_equal(y.swapaxes(0, 2).asnumpy(), x.swapaxes(0, 2))
    np.testing.assert_array_equal(nd.SwapAxis(y, dim1=1, dim2=-1).asnumpy(), x.swapaxes(1, 2))
    np.testing.assert_array_equal(nd.moveaxis(y, 0, -1).asnumpy(), np.moveaxis(x, 0, -1))
    np.testing.assert_array_equal(nd.moveaxis(y, (0, 1), (2, 0)).asnumpy(), np.moveaxis(x, (0, 1), (2, 0)))


@pytest.mark.parametrize("axes", [(0, 1), (0, 0, 1), (0, 1, 3)])
def test_bad_axes_are_named(axes):
    with pytest.raises(OperatorError, match=r"transpose: axes is"):
        nd.transpose(nd.zeros((2, 3, 4)), axes=axes)


# Slicing


@pytest.mark.parametrize(
    ("begin", "end", "step", "key"),
    [
        ((0, 1), (2, 3), None, np.s_[0:2, 1:3]),
        ((1,), (3,), None, np.s_[1:3]),
        ((None, 1), (None, None), None, np.s_[:, 1:]),
        ((-2, -3), (None, -1), None, np.s_[-2:, -3:-1]),
        ((None, None), (None, None), (2, 3), np.s_[::2, ::3]),
        ((2, None), (None, 1), (-1, 2), np.s_[2::-1, :1:2]),
        ((-1,), (-3,), (-1,), np.s_[-1:-3:-1]),
        ((None, 5), (None, 1), (None, -2), np.s_[:, 5:1:-2]),
        (1, 3, None, np.s_[1:3]),
        ((0, 0), (100, 100), None, np.s_[0:100, 0:100]),
    ],
)
def test_slice(begin, end, step, key):
    x = counted(4, 7, 2)
    y = nd.slice(nd.array(x), begin=begin, end=end, step=step)
    assert y.shape == x[key].shape
    np.testing.assert_array_equal(y.asnumpy(), x[key])


def test_slices_of_rows_share_memory():
    x = nd.array(counted(4, 3))
    for part in (nd.slice(x, begin=1, end=3), nd.slice_axis(x, axis=0, begin=1, end=3), x[1:3]):
        assert shares_memory(part, x)
        part += 1
    np.testing.assert_array_equal(x.asnumpy(), counted(4, 3) + np.float32([[0], [3], [3], [0]]))
    for copy in (nd.slice(x, begin=(0, 1), end=(4, 3)), nd.slice(x, 0, 4, 2), x[:, 1:]):
        assert not shares_memory(copy, x)


def test_slice_axis():
    x = counted(4, 7, 2)
    y = nd.array(x)
    np.testing.assert_array_equal(nd.slice_axis(y, axis=1, begin=2, end=5).asnumpy(), x[:, 2:5])
    np.testing.assert_array_equal(nd.slice_axis(y, axis=-2, begin=-3, end=None).asnumpy(), x[:, -3:])
    np.testing.assert_array_equal(y.slice_axis(axis=2, begin=0, end=-1).asnumpy(), x[..., :-1])
    with pytest.raises(OperatorError, match="slice_axis: end is 8; accepted: -7 to 7"):
        nd.slice_axis(y, axis=1, begin=0, end=8)
    with pytest.raises(OperatorError, match="slice_axis: axis is 3; accepted: -3 to 2"):
        nd.slice_axis(y, axis=3, begin=0, end=1)


def test_slice_like():
    x = counted(4, 7, 2)
    y = nd.array(x)
    np.testing.assert_array_equal(nd.slice_like(y, nd.zeros((2, 3, 1))).asnumpy(), x[:2, :3, :1])
    np.testing.assert_array_equal(nd.slice_like(y, nd.zeros((9, 3)), axes=(1,)).asnumpy(), x[:, :3])
    np.testing.assert_array_equal(
        nd.slice_like(y, nd.zeros((2, 3, 1)), axes=(0, -1)).asnumpy(), x[:2, :, :1]
    )
    with pytest.raises(OperatorError, match=r"slice_like: shape_like is \(5, 7, 2\)"):
        nd.slice_like(y, nd.zeros((5, 7, 2)))


@pytest.mark.parametrize(
    ("begin", "end", "step"),
    [((0, 0, 0, 0), (1, 1, 1, 1), None), ((0,), (1, 1), None), ((0,), (1,), (1, 1))],
)
def test_slice_wants_as_many_of_each(begin, end, step):
    with pytest.raises(OperatorError, match="slice: begin, end, step is"):
        nd.slice(nd.zeros((2, 3)), begin=begin, end=end, step=step)


def test_flip():
    x = counted(3, 4, 5)
    np.testing.assert_array_equal(nd.flip(nd.array(x), axis=1).asnumpy(), x[:, ::-1])
    np.testing.assert_array_equal(nd.array(x).flip(axis=-1).asnumpy(), x[..., ::-1])
    np.testing.assert_array_equal(nd.reverse(nd.array(x), axis=(0, 2)).asnumpy(), x[::-1, :, ::-1])


# Repeating


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        ((1, 3), (5, 3), (5, 3)),
        ((2, 1, 3), (2, 17, 3), (2, 17, 3)),
        ((2, 1), (0, 3), (2, 3)),
        ((3,), (2, 4, 3), (2, 4, 3)),
        ((1,), (2, 2), (2, 2)),
        ((), (2, 2), (2, 2)),
        ((1, 3), (0, 3), (1, 3)),
    ],
)
def test_broadcast_to(shape, target, expected):
    x = counted(*shape)
    y = nd.broadcast_to(nd.array(x), shape=target)
    assert y.shape == expected
    np.testing.assert_array_equal(y.asnumpy(), np.broadcast_to(x, expected))


def test_other_ways_to_broadcast():
    x = nd.array([[1], [2]])
    np.testing.assert_array_equal(nd.broadcast_axis(x, axis=1, size=2).asnumpy(), [[1, 1], [2, 2]])
    assert nd.broadcast_axes(nd.zeros((1, 3, 1)), axis=(0, 2), size=(2, 4)).shape == (2, 3, 4)
    assert x.broadcast_like(nd.zeros((3, 2, 5))).shape == (3, 2, 5)
    assert nd.broadcast_like(x, nd.zeros((5, 3)), lhs_axes=(1,), rhs_axes=(0,)).shape == (2, 5)
    assert x.broadcast_to((2, 3)).shape == (2, 3)


@pytest.mark.parametrize("target", [(3, 3), (2,), (5, 2, 2, 2)])
def test_bad_targets_are_named(target):
    with pytest.raises(OperatorError, match=r"broadcast_to: shape is \(.*a shape that \(2, 1, 3\)"):
        nd.broadcast_to(nd.zeros((2, 1, 3)), shape=target)


# Joining and parting


@pytest.mark.parametrize("dtype", DTYPES)
def test_concat_of_every_dtype(dtype, rng):
    parts = [rng.integers(0, 2, (3, n)).astype(dtype) for n in (1, 18, 5)]
    y = nd.concat(*(nd.array(p, dtype=dtype) for p in parts), dim=1)
    assert np.dtype(y.dtype) == dtype
    np.testing.assert_array_equal(y.asnumpy(), np.concatenate(parts, axis=1))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_concat(axis):
    shapes = [[2, 3, 4] for _ in range(3)]
    for n, shape in enumerate(shapes):
        shape[axis] = n  # one of the parts is empty
    parts = [counted(*s) + 100 * n for n, s in enumerate(shapes)]
    expected = np.concatenate(parts, axis=axis)
    arrays = [nd.array(p) for p in parts]
    np.testing.assert_array_equal(nd.concat(*arrays, dim=axis).asnumpy(), expected)
    np.testing.assert_array_equal(nd.Concat(*arrays, dim=axis, num_args=3).asnumpy(), expected)
    np.testing.assert_array_equal(nd.concatenate(arrays, axis=axis).asnumpy(), expected)


def test_concat_joins_columns_by_default():
    assert nd.concat(nd.zeros((2, 3)), nd.zeros((2, 4))).shape == (2, 7)
    assert nd.concat(nd.zeros((2, 3))).shape == (2, 3)


def test_many_arrays_are_joined():
    parts = [np.full((1, 2), n, np.float32) for n in range(300)]
    joined = nd.concat(*map(nd.array, parts), dim=0)
    np.testing.assert_array_equal(joined.asnumpy(), np.concatenate(parts))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            ((2, 3), "int32"),
            r"concat: data\[1\] is int32 \(2, 3\); accepted: float32 \(2, 3\) up to",
        ),
        (((3, 3), "float32"), r"concat: data\[1\] is float32 \(3, 3\)"),
        (((2, 3, 1), "float32"), r"concat: data\[1\] is float32 \(2, 3, 1\)"),
    ],
)
def test_parts_that_do_not_fit_are_named(other, message):
    with pytest.raises(OperatorError, match=message):
        nd.concat(nd.zeros((2, 3)), nd.zeros(other[0], dtype=other[1]), dim=1)


def test_no_arrays_to_join():
    with pytest.raises(OperatorTypeError, match="concat: no arrays given"):
        nd.concat(dim=1)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_stack(axis):
    parts = [counted(3, 4) + 100 * n for n in range(3)]
    expected = np.stack(parts, axis=axis)
    arrays = [nd.array(p) for p in parts]
    np.testing.assert_array_equal(nd.stack(*arrays, axis=axis).asnumpy(), expected)
    np.testing.assert_array_equal(nd.stack(arrays, axis=axis, num_args=3).asnumpy(), expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_split(axis):
    x = counted(6, 4, 2)
    parts = nd.split(nd.array(x), num_outputs=2, axis=axis)
    assert isinstance(parts, list)
    for part, expected in zip(parts, np.split(x, 2, axis=axis), strict=True):
        np.testing.assert_array_equal(part.asnumpy(), expected)


def test_ways_to_split():
    x = nd.array(counted(2, 3))
    columns = nd.SliceChannel(x, num_outputs=3, squeeze_axis=True)
    assert [c.asnumpy().tolist() for c in columns] == [[0, 3], [1, 4], [2, 5]]
    assert nd.split(x, num_outputs=1).shape == (2, 3)  # not a list, as in MXNet
    with pytest.raises(OperatorError, match=r"split: num_outputs is 2; accepted: a divisor of .* 3"):
        nd.split(x, num_outputs=2)


def test_parts_that_are_put_where_others_lie():
    """The parts share memory with the array: the first one was written over the second."""
    x = nd.array(counted(4, 3))
    nd.split(x, 2, axis=0, out=[x[2:], x[:2]])
    np.testing.assert_array_equal(x.asnumpy(), np.roll(counted(4, 3), 2, axis=0))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_add_n(count, rng):
    parts = rng.standard_normal((count, 3, 7)).astype(np.float32)
    arrays = [nd.array(p) for p in parts]
    expected = parts.astype(np.float64).sum(axis=0)
    np.testing.assert_allclose(nd.add_n(*arrays).asnumpy(), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        nd.ElementWiseSum(*arrays, num_args=count).asnumpy(), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_sums_of_more_arrays_than_one_launch_takes(dtype, launches, rng):
    """Half precision is not rounded on the way; every array has its gradient."""
    parts = rng.uniform(0.5, 1, (100, 3, 7)).astype(dtype)
    arrays = [nd.array(p, dtype=dtype) for p in parts]
    for a in arrays:
        a.attach_grad()
    with autograd.record():
        y = nd.add_n(*arrays)
    y.backward()
    expected = np.add.accumulate(parts, axis=0, dtype=np.float32)[-1].astype(dtype)
    np.testing.assert_array_equal(y.asnumpy(), expected)
    assert all((a.grad.asnumpy() == 1).all() for a in arrays)
    assert [name for name, _ in launches if "add_n" in name] == [f"add_n_forward_{dtype}"] * 4


def test_add_n_wants_one_shape():
    with pytest.raises(
        OperatorError, match=r"add_n: args\[1\] is float32 \(3,\); accepted: float32 \(2,\)"
    ):
        nd.add_n(nd.zeros((2,)), nd.zeros((3,)))


# Gradients

GRADIENTS = {
    "reshape": (lambda x: x.reshape((3, 4)), [(2, 6)]),
    "flatten": (lambda x: x.flatten(), [(2, 2, 3)]),
    "expand_dims": (lambda x: x.expand_dims(axis=1), [(2, 3)]),
    "squeeze": (lambda x: x.squeeze(), [(2, 1, 3)]),
    "reshape_like": (lambda x: nd.reshape_like(x, nd.zeros((6,))), [(2, 3)]),
    "transpose": (lambda x: x.transpose((2, 0, 1)), [(2, 3, 2)]),
    "transpose, reversed": (lambda x: x.T, [(2, 3)]),
    "swapaxes": (lambda x: x.swapaxes(0, 2), [(2, 3, 2)]),
    "moveaxis": (lambda x: nd.moveaxis(x, 0, 2), [(2, 3, 2)]),
    "slice": (lambda x: nd.slice(x, (0, 1), (2, None), (1, 2)), [(3, 4)]),
    "slice backwards": (lambda x: nd.slice(x, (None, 2), (None, 0), (1, -1)), [(2, 4)]),
    "slice of rows": (lambda x: nd.slice(x, begin=1, end=3), [(4, 2)]),
    "slice_axis": (lambda x: nd.slice_axis(x, axis=1, begin=1, end=3), [(2, 4)]),
    "slice_like": (lambda x: nd.slice_like(x, nd.zeros((2, 2))), [(3, 3)]),
    "flip": (lambda x: nd.flip(x, axis=1), [(2, 3)]),
    "broadcast_to": (lambda x: nd.broadcast_to(x, shape=(2, 3, 2)), [(3, 1)]),
    "broadcast_like": (lambda x: nd.broadcast_like(x, nd.zeros((3, 2))), [(1, 2)]),
    "broadcast_axis": (lambda x: nd.broadcast_axis(x, axis=0, size=3), [(1, 2)]),
    "concat": (lambda *xs: nd.concat(*xs, dim=1), [(2, 1), (2, 3), (2, 2)]),
    "concat of rows": (lambda *xs: nd.concat(*xs, dim=0), [(1, 2), (3, 2)]),
    "concatenate": (lambda *xs: nd.concatenate(list(xs), axis=-1), [(2, 1), (2, 3)]),
    "stack": (lambda *xs: nd.stack(*xs, axis=1), [(2, 3), (2, 3)]),
    "split": (lambda x: nd.split(x, num_outputs=2, axis=1), [(2, 4)]),
    "split, squeezed": (lambda x: nd.split(x, num_outputs=3, axis=0, squeeze_axis=True), [(3, 2)]),
    "add_n": (lambda *xs: nd.add_n(*xs), [(2, 3), (2, 3), (2, 3)]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name, rng):
    """These ops are linear: what follows them is squared, for the second order to say something."""
    f, shapes = GRADIENTS[name]
    inputs = [rng.uniform(0.5, 2, s) for s in shapes]
    gradcheck(f, inputs)

    def squared(*xs):
        result = f(*xs)
        return [nd.square(y) for y in (result if isinstance(result, list) else [result])]

    gradgradcheck(squared, inputs)


def test_gradient_of_a_part_that_is_not_used():
    """The other outputs of a split count as zeros."""
    x = nd.array(counted(2, 4))
    x.attach_grad()
    with autograd.record():
        y = nd.split(x, num_outputs=2, axis=1)[1]
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [[0, 0, 1, 1]] * 2)


def test_gradient_of_an_array_that_is_joined_twice():
    x = nd.array([[1.0, 2.0]])
    x.attach_grad()
    with autograd.record():
        y = nd.concat(x, x, 3 * x, dim=0) * nd.array([[1.0], [10.0], [100.0]])
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [[311, 311]])


@pytest.mark.parametrize(
    "f", [lambda x: x.reshape((-1,)), lambda x: x[1:], lambda x: x.T, lambda x: x.expand_dims(0)]
)
def test_gradient_of_arrays_without_elements(f):
    x = nd.zeros((2, 0))
    x.attach_grad()
    with autograd.record():
        y = f(x)
    y.backward()
    assert x.grad.shape == (2, 0)


# Repeating and cutting


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reps", [3, (2,), (5, 1), (2, 3, 1), (1, 2, 3, 4), (0,), (3, 0, 1)])
def test_tile(reps, dtype, rng):
    host = rng.integers(0, 2, (3, 1, 7)).astype(dtype)
    y = nd.array(host, dtype=dtype).tile(reps)
    assert np.dtype(y.dtype) == dtype
    np.testing.assert_array_equal(y.asnumpy(), np.tile(host, reps))


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("repeats", [0, 1, 5])
@pytest.mark.parametrize("shape", [(3, 7), (1, 1), (0, 3), (2, 3, 5)])
def test_repeat(shape, repeats, axis, rng):
    host = rng.standard_normal(shape).astype(np.float32)
    y = nd.array(host).repeat(repeats, axis)
    np.testing.assert_array_equal(y.asnumpy(), np.repeat(host, repeats, axis))


def test_repeating_nothing_passes_zero_gradients():
    for f in (lambda x: nd.tile(x, (0, 2)), lambda x: nd.repeat(x, 0, 1)):
        x = nd.ones((2, 3))
        x.attach_grad()
        with autograd.record():
            y = nd.concat(f(x).reshape((-1,)), (x * 2).reshape((-1,)), dim=0)
        y.backward()
        np.testing.assert_array_equal(x.grad.asnumpy(), np.full((2, 3), 2))


def test_gradients_of_repetition_gather(rng):
    """Each element gets the sum over its copies, the same to the bit each time."""
    host = rng.standard_normal((17, 19)).astype(np.float32)
    head = rng.standard_normal((51, 38)).astype(np.float32)
    found = []
    for _ in "ab":
        x = nd.array(host)
        x.attach_grad()
        with autograd.record():
            y = nd.repeat(nd.tile(x, (3, 1)), 2, axis=1)
        y.backward(nd.array(head))
        found.append(x.grad.asnumpy())
    np.testing.assert_array_equal(*found)
    expected = head.reshape(3, 17, 19, 2).sum((0, 3))
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5)


def test_split_v2_as_a_method_and_with_empty_parts():
    x = nd.array(counted(2, 6))
    for part, expected in zip(
        x.split_v2((0, 4, 4), axis=1), np.split(counted(2, 6), (0, 4, 4), 1), strict=True
    ):
        np.testing.assert_array_equal(part.asnumpy(), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nd.tile(x, (-1, 2)), r"tile: reps is \(-1, 2\); accepted: whole numbers not below 0"),
        (lambda x: nd.repeat(x, -1), r"repeat: repeats is -1; accepted: a whole number not below 0"),
        (lambda x: nd.repeat(x, 2, axis=2), r"repeat: axis is 2; accepted: -2 to 1"),
        (lambda x: nd.split_v2(x, 4), r"split_v2: indices_or_sections is 4; accepted: a divisor"),
        (
            lambda x: nd.split_v2(x, (3, 1)),
            r"split_v2: indices_or_sections is \(3, 1\); accepted: positions",
        ),
        (lambda x: nd.split(x, 0), r"split: num_outputs is 0; accepted: a divisor of the axis' size 3"),
        (lambda x: nd.reshape_like(x, x, lhs_begin=1), r"reshape_like: rhs is of shape \(2, 3\); accepted"),
        (lambda x: nd.reshape_like(x, x, lhs_end=3), r"reshape_like: lhs_begin, lhs_end is \(None, 3\)"),
        (
            lambda x: nd.broadcast_axis(x, (0, 1), 2),
            r"broadcast_axis: size is 2; accepted: one size for each",
        ),
        (lambda x: nd.broadcast_axis(x, 1, 5), r"broadcast_axis: axis is 1; accepted: an axis of size 1"),
        (lambda x: nd.broadcast_like(x, x, (0,), (0, 1)), r"broadcast_like: rhs_axes is \(0, 1\)"),
        (
            lambda x: nd.slice_like(x, nd.ones(2)),
            r"slice_like: shape_like is of shape \(2,\); accepted: 2 axes",
        ),
        (lambda x: nd.slice_like(x, nd.ones(2), axes=(1,)), r"slice_like: axes is 1; accepted: -1 to 0"),
        (lambda x: nd.stack(), r"stack: data is \(\); accepted: one array or more"),
        (
            lambda x: nd.stack(x, nd.ones(2)),
            r"stack: data\[1\] is of shape \(2,\); accepted: that of the first",
        ),
        (lambda x: nd.concatenate([]), r"concatenate: arrays is \[\]; accepted: one array or more"),
        (
            lambda x: nd.moveaxis(x, (0, 0), (0, 1)),
            r"moveaxis: source is \(0, 0\); accepted: each axis once",
        ),
        (
            lambda x: nd.moveaxis(x, 0, (0, 1)),
            r"moveaxis: destination is \(0, 1\); accepted: one place for",
        ),
        (lambda x: nd.flip(x, (0, -2)), r"flip: axis is \(0, -2\); accepted: each axis once"),
    ],
)
def test_errors_of_repeating_and_cutting_name_the_argument(call, message):
    with pytest.raises(OperatorError, match=message):
        call(nd.ones((2, 3)))
