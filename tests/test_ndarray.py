"""NDArray itself: properties, conversions, operators, printing, and how it meets numpy."""

import copy
import io
import json
import operator
import pickle
import pickletools

import numpy as np
import pytest
from golden.operators import BINARY, answers
from golden.operators import IN_PLACE as IN_PLACE_NAMES
from golden.record_files import FOLDER

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError
from clgrad.registry import table

#: What the coverage test counts as tested here.
COVERS = {"cast": (), "_floor_divide": (), "_transfer": ()}

FP64 = pytest.mark.requires("fp64")


def equal(x: nd.NDArray, expected, dtype="float32") -> None:
    assert isinstance(x, nd.NDArray)
    assert np.dtype(x.dtype) == dtype
    assert x.shape == np.shape(expected)
    np.testing.assert_allclose(x.asnumpy(), expected, rtol=1e-6)


# Properties


def test_properties():
    x = nd.zeros((2, 3), dtype="float16")
    assert (x.shape, x.ndim, x.size, x.dtype, x.stype) == ((2, 3), 2, 6, np.float16, "default")
    assert x.context == x.ctx == mx.current_context()
    assert isinstance(x.handle, int)
    assert x.handle != 0
    assert nd.zeros((0,)).handle == 0
    assert x.grad is None
    assert x.T.shape == (3, 2)


def test_length():
    assert len(nd.zeros((4, 2))) == 4
    with pytest.raises(TypeError, match="0-dimensional"):
        len(nd.zeros(()))


def test_arrays_are_hashed_by_identity():
    x, y = nd.ones((2,)), nd.ones((2,))
    assert len({x, y, x}) == 2


#: What MXNet's NDArray has as a method, and clgrad's lacks, because the op is missing: it follows the op.
WITHOUT_OP = {"argmax_channel", "argsort", "depth_to_space", "diag", "pad", "repeat", "sort"}
WITHOUT_OP |= {"space_to_depth", "split_v2", "tile", "topk"}


@pytest.mark.parametrize("attribute", json.loads((FOLDER / "names.json").read_text())["nd.NDArray"])
def test_what_mxnet_has(attribute):
    """Every attribute of MXNet's arrays, unless the op that it means is not written yet."""
    if attribute in WITHOUT_OP and attribute not in table:
        return
    assert hasattr(nd.NDArray, attribute), "add the op's name to methods.py"


def test_storage_types():
    x = nd.array([1.0, 2.0])
    x.attach_grad()
    with autograd.record():
        y = x.tostype("default") * 3
    y.backward()
    equal(x.grad, [3, 3])
    assert x.tostype("default").handle != x.handle
    with pytest.raises(NotImplementedError, match="stype is 'row_sparse'; accepted: 'default', 'csr'"):
        x.tostype("row_sparse")
    with pytest.raises(AbsentError, match="numpy interface"):
        x.as_np_ndarray()
    assert x.writable is True


def test_slice_assign():
    x = nd.array([[1, 2, 3], [4, 5, 6]])
    assert x.slice_assign(nd.zeros((1, 2)), (0, 1), (1, 3), (1, 1)) is x
    equal(x, [[1, 0, 0], [4, 5, 6]])
    assert x.slice_assign_scalar(9, (None, 2), (None, 0), (None, -1)) is x
    equal(x, [[1, 9, 9], [4, 9, 9]])
    equal(x.slice_assign_scalar(7, (1,), (2,)), [[1, 9, 9], [7, 7, 7]])


def test_inplace_of_relabelling_methods():
    """MXNet's switch between a view and a copy: here both share memory."""
    x = nd.ones((2, 1))
    for y in (x.expand_dims(0, inplace=True), x.squeeze(inplace=True), x.flatten(inplace=True)):
        assert y.handle == x.handle
    assert x.expand_dims(axis=0, inplace=True).shape == (1, 2, 1)


# Copies and pickles


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "x",
    [
        lambda: nd.array([[1, 2], [3, 4]]),
        lambda: nd.zeros((0, 3), dtype="int8"),
        lambda: nd.array(2.5),
        lambda: nd.array([1, 2]).astype("bfloat16"),
        lambda: nd.array([0, 1], dtype="bool"),
    ],
)
def test_pickles(x, protocol):
    x = x()
    stored = pickle.dumps({"x": x}, protocol)
    y = pickle.loads(stored)["x"]
    assert y.dtype is x.dtype
    assert y.shape == x.shape
    np.testing.assert_array_equal(y.asnumpy(), x.asnumpy())


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_loading_a_pickle_calls_one_function(protocol):
    """Nothing but clgrad's constructor: numpy's own pickles call several functions."""
    stored = pickle.dumps(nd.ones((2,)), protocol)
    called = []

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            called.append((module, name))
            return super().find_class(module, name)

    equal(Unpickler(io.BytesIO(stored)).load(), [1, 1])
    # protocol 2 has no bytes, and spells them as an encoded str
    assert set(called) - {("_codecs", "encode")} == {("clgrad.array", "from_bytes")}
    assert any(op.name == "REDUCE" for op, _, _ in pickletools.genops(stored))


def test_pickles_that_were_tampered_with():
    with pytest.raises(OperatorError, match="from_bytes: content is 7 bytes; accepted: 8 bytes"):
        mx.array.from_bytes(bytes(7), (2,), "float32")


def test_copies_are_deep():
    x = nd.array([1.0, 2.0])
    x.attach_grad()
    for y in (copy.copy(x), copy.deepcopy(x), copy.deepcopy([x])[0], x.copy()):
        y[:] = 0
        assert y.grad is None
    equal(x, [1, 2])


# Numbers


@pytest.mark.parametrize("x", [nd.array, lambda v: nd.array([v]), lambda v: nd.array([[v]])])
def test_one_element_is_a_number(x):
    assert float(x(2.5)) == 2.5
    assert int(x(2.5)) == 2
    assert bool(x(2.5)) is True
    assert bool(x(0)) is False
    assert x(2.5).asscalar() == np.float32(2.5)
    assert isinstance(x(2.5).item(), np.float32)


@pytest.mark.parametrize("convert", [float, int, bool, nd.NDArray.asscalar])
def test_several_elements_are_no_number(convert):
    with pytest.raises(OperatorError, match=r"\(2,\).*; accepted: one element"):
        convert(nd.zeros((2,)))


def test_no_element_is_false():
    assert not nd.zeros((0,))
    with pytest.raises(OperatorError, match="accepted: one element"):
        float(nd.zeros((0,)))


def test_integers_are_indices():
    assert [10, 11, 12][nd.array([1], dtype="int32")] == 11
    with pytest.raises(TypeError, match="only integer arrays can be an index, not float32"):
        [10, 11][nd.array([1])]


# Printing


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (lambda: nd.array([[1, 2], [3, 4]]), "\n[[1. 2.]\n [3. 4.]]\n<NDArray 2x2 @{}>"),
        (lambda: nd.array([1], dtype="int32"), "\n[1]\n<NDArray 1 @{}>"),
        (lambda: nd.array(3.0), "\n3.0\n<NDArray  @{}>"),
        (lambda: nd.zeros((0, 3)), "\n[]\n<NDArray 0x3 @{}>"),
        (
            lambda: nd.arange(2000),
            "\n[0.000e+00 1.000e+00 2.000e+00 ... 1.997e+03 1.998e+03 1.999e+03]\n<NDArray 2000 @{}>",
        ),
    ],
)
def test_printed_as_mxnet_prints(x, text):
    expected = text.format(mx.current_context())
    assert repr(x()) == str(x()) == expected


def test_lists_are_printed_as_in_the_specification():
    assert repr([nd.array([1.5])]) == f"[\n[1.5]\n<NDArray 1 @{mx.current_context()}>]"


# Operators

ARITHMETIC = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.mod,
    operator.pow,
    operator.floordiv,
]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
X, Y = np.float32([[5.5, 2, 3], [4, 7, 0.5]]), np.float32([2, 3, 0.75])


def name(f) -> str:
    return getattr(f, "__name__", str(f))


@pytest.mark.parametrize("f", [*ARITHMETIC, *COMPARISONS], ids=name)
def test_binary_operators(f):
    """With an array, a broadcast one, a number on either side, and numpy's numbers and arrays."""
    x, y = nd.array(X), nd.array(Y)
    equal(f(x, y), f(X, Y))
    equal(f(y, x), f(Y, X))
    for number in (2, 1.5, np.float32(1.5), np.float64(1.5), np.int64(2), True):
        equal(f(x, number), f(X, np.float32(number)))
        equal(f(number, x), f(np.float32(number), X))
    equal(f(x, Y), f(X, Y))
    equal(f(Y, x), f(Y, X))
    equal(f(Y.astype(np.float64), x), f(Y, X))  # numpy arrays take the array's dtype


@pytest.mark.parametrize("f", [operator.neg, abs], ids=name)
def test_unary_operators(f):
    equal(f(nd.array(X - 3)), f(X - 3))


IN_PLACE = [
    operator.iadd,
    operator.isub,
    operator.imul,
    operator.itruediv,
    operator.imod,
    operator.ipow,
    operator.ifloordiv,
]


@pytest.mark.parametrize("other", [Y, 2.5], ids=["array", "number"])
@pytest.mark.parametrize("f", IN_PLACE, ids=name)
def test_in_place_operators(f, other):
    """The array's own memory changes; views of it see that."""
    x, expected = nd.array(X), X.copy()
    view, handle = x[1], x.handle
    expected = f(expected, np.float32(other))
    result = f(x, nd.array(other) if isinstance(other, np.ndarray) else other)
    assert result is x
    assert x.handle == handle
    equal(x, expected)
    equal(view, expected[1])


def test_in_place_results_must_fit():
    x = nd.ones((3,))
    with pytest.raises(OperatorError, match=r"add: out has shape \(3,\).*accepted: shape \(2, 3\)"):
        x += nd.ones((2, 3))


def test_what_operators_do_not_know():
    x = nd.ones((2,))
    for other in ("a", None, [1, 2], object()):
        with pytest.raises(TypeError):
            x + other
        with pytest.raises(TypeError):
            other - x
    assert (x == None) is False  # noqa: E711
    assert (x != "a") is True


def test_mixed_dtypes_name_the_argument():
    with pytest.raises(
        OperatorTypeError, match="multiply: 'lhs' has dtype float32 and 'rhs' has dtype int32"
    ):
        nd.ones((2,)) * nd.ones((2,), dtype="int32")
    assert issubclass(OperatorTypeError, MXNetError)


def test_fractions_of_numpy_arrays_are_not_lost():
    """An array of integers drops the fraction of a number, as in MXNet; that of an array is an error."""
    x = nd.array([5, 6], dtype="int32")
    equal(x + 1.5, [6, 7], "int32")
    equal(x + np.array([1, 2]), [6, 8], "int32")
    with pytest.raises(OperatorTypeError, match="add: 'rhs' is a numpy array of float64 beside"):
        x + np.array([1.5, 2])
    with pytest.raises(OperatorTypeError, match="subtract: 'lhs' is a numpy array of float32"):
        np.float32([1, 2]) - x


def test_operators_are_recorded():
    x = nd.array([1.0, 2.0])
    x.attach_grad()
    with autograd.record():
        y = (3 - x) * x / 2 + 2**x - x % 2 + (-x) ** 2 + abs(x)
    y.backward()
    host = np.array([1.0, 2.0])
    np.testing.assert_allclose(
        x.grad.asnumpy(), 1.5 - host + 2**host * np.log(2) - 1 + 2 * host + 1, rtol=1e-6
    )


def test_matmul():
    equal(nd.array(X) @ nd.array(X.T.copy()), X @ X.T)
    with pytest.raises(TypeError):
        nd.array(X) @ 2


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((4, 2, 3), (3, 5)),
        ((2, 3), (4, 3, 5)),
        ((4, 1, 2, 3), (5, 3, 2)),
        ((3,), (4, 3, 2)),
        ((4, 2, 3), (3,)),
    ],
)
def test_matmul_of_stacks(a, b, rng):
    """numpy's matmul, except for two vectors: shape (1,) as of every full sum."""
    x, y = (rng.integers(-3, 4, shape).astype(np.float32) for shape in (a, b))
    expected = np.atleast_1d(x @ y)
    for product in (nd.array(x) @ nd.array(y), nd.array(x) @ y, x @ nd.array(y)):
        equal(product, expected)
    u, v = nd.array(x), nd.array(y)
    u.attach_grad()
    v.attach_grad()
    with autograd.record():
        z = u @ v
    z.backward()
    du, dv = (np.zeros_like(t) for t in (x, y))
    for t, d in ((x, du), (y, dv)):  # the product is linear in each: a derivative is a difference
        for i in np.ndindex(t.shape):
            kept, t[i] = t[i], 1 + t[i]
            d[i] = (x @ y).sum() - expected.sum()
            t[i] = kept
    equal(u.grad, du)
    equal(v.grad, dv)


def test_matmul_of_stacks_that_do_not_fit():
    with pytest.raises(OperatorError, match=r"matmul: rhs is of shape \(3, 3, 2\); accepted: leading axes"):
        nd.ones((2, 1, 3)) @ nd.ones((3, 3, 2))


def test_divmod_and_plus():
    x = nd.array([5, -5, 7.5])
    for pair, expected in (
        (divmod(x, 2), divmod(x.asnumpy(), 2)),
        (divmod(17, x), divmod(17, x.asnumpy())),
        (divmod(x, x), divmod(x.asnumpy(), x.asnumpy())),
    ):
        equal(pair[0], expected[0])
        equal(pair[1], expected[1])
    equal(+x, x.asnumpy())
    assert (+x).handle != x.handle
    with pytest.raises(TypeError):
        divmod(x, "a")


@pytest.mark.parametrize("f", [operator.and_, operator.or_, operator.xor], ids=name)
def test_operators_of_masks(f):
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    x, y = nd.array(a, dtype="bool"), nd.array(b, dtype="bool")
    for other in (y, b):
        equal(f(x, other), f(a, b), "bool")
        equal(f(other, x), f(a, b), "bool")
    equal(f(x, True), f(a, True), "bool")
    equal(f(False, x), f(a, False), "bool")
    equal(~x, ~a, "bool")
    in_place = getattr(operator, f"i{f.__name__.strip('_')}")
    view = x[1:]
    assert in_place(x, y) is x
    equal(view, f(a, b)[1:], "bool")
    for other in (nd.ones((4,)), 1, "a"):
        with pytest.raises(TypeError):
            f(x, other)
    with pytest.raises(TypeError, match="unary ~: an array of float32; accepted: bool"):
        ~nd.ones((2,))


# MXNet's answers

ANSWERED = json.loads((FOLDER / "operators.json").read_text())


@pytest.fixture(scope="module")
def answered() -> dict:
    return json.loads(json.dumps(answers(mx)))


@pytest.mark.once
@pytest.mark.parametrize("f", [*BINARY, *IN_PLACE_NAMES])
def test_operators_answer_as_mxnets(f, answered):
    """Values, dtypes, and what is refused: mixed dtypes above all."""
    cases = {key: value for key, value in ANSWERED.items() if key.split()[0] == f}
    assert len(cases) > 80
    for key, expected in cases.items():
        if expected is None and "bool_" in key:  # numpy's truth values know no NDArray there
            continue
        actual = answered[key]
        assert (actual is None) == (expected is None), key
        if expected is not None:
            assert actual[:2] == expected[:2], key
            np.testing.assert_allclose(actual[2], expected[2], rtol=1e-3, atol=1e-3, err_msg=key)


# numpy


def test_numpy_sees_the_elements():
    x = nd.array(X)
    assert isinstance(np.asarray(x), np.ndarray)
    np.testing.assert_array_equal(np.asarray(x), X)
    assert np.asarray(x, dtype=np.int32).dtype == np.int32
    np.testing.assert_array_equal(np.concatenate([x, x]), np.concatenate([X, X]))
    with pytest.raises(ValueError, match="numpy gets a copy"):
        np.array(x, copy=False)


def test_a_numpy_array_on_the_left_leaves_the_work_to_the_array():
    """One NDArray, not a numpy array of objects; recorded like any other operation."""
    x = nd.array([1.0, 2.0])
    x.attach_grad()
    with autograd.record():
        y = np.float32([10, 20]) * x
    equal(y, [10, 40])
    y.backward()
    equal(x.grad, [10, 20])


# Conversions


@pytest.mark.parametrize("target", ["float32", "float16", "int64", "int32", "int8", "uint8", "bool"])
@pytest.mark.parametrize(
    "source", ["float32", pytest.param("float64", marks=FP64), "float16", "int64", "uint8", "bool"]
)
def test_astype(source, target, rng):
    """Fractions are dropped towards 0; every number but 0 is True."""
    host = (
        rng.integers(0, 100, 37).astype(source) if source != "bool" else rng.integers(0, 2, 37).astype(bool)
    )
    if np.dtype(source).kind == "f":
        host += np.asarray(rng.choice([0, 0.25, 0.75], 37), source)
        host[:2] = 0, 0.25
    x = nd.array(host, dtype=source)
    equal(x.astype(target), host.astype(target), target)


def test_astype_of_negative_numbers():
    x = nd.array([-1.9, -0.5, 1.9, -100])
    equal(x.astype("int8"), [-1, 0, 1, -100], "int8")
    equal(x.astype("int64"), [-1, 0, 1, -100], "int64")
    equal(nd.array([-1, 2**40 + 1], dtype="int64").astype("int32"), [-1, 1], "int32")


def test_rounding_to_halves():
    """To nearest, ties to even; too large numbers become infinite."""
    host = np.float32([1 + 2**-11, 1 + 3 * 2**-11, 65504, 65519, 65520, 1e-8, 2.0**-24])
    with np.errstate(over="ignore"):
        equal(nd.array(host).astype("float16"), host.astype(np.float16), "float16")


def test_astype_copies_unless_told():
    x = nd.ones((2,))
    assert x.astype("float32") is not x
    assert x.astype("float32").handle != x.handle
    assert x.astype("float32", copy=False) is x
    assert x.astype("int32", copy=False).dtype is np.int32


def test_gradient_of_cast():
    """In the dtype of the input; whole numbers have none."""
    x = nd.array([1.5, 2.5])
    x.attach_grad()
    with autograd.record():
        y = x.astype("float16") * 2
    y.backward()
    equal(x.grad, [2, 2])
    with autograd.record():
        (g,) = autograd.grad((x.astype("float16") ** 2).astype("float32"), x, create_graph=True)
    g.backward()
    equal(x.grad, [2, 2])


def test_copy_and_copyto():
    x = nd.array([1.0, 2.0])
    y = x.copy()
    assert y.handle != x.handle
    equal(y, [1, 2])
    target = nd.zeros((2,), dtype="int32")
    assert x.copyto(target) is target
    equal(target, [1, 2], "int32")
    other = x.copyto(mx.current_context())
    assert other.handle != x.handle
    equal(other, [1, 2])
    with pytest.raises(OperatorError, match=r"copyto: other has shape \(3,\); accepted: \(2,\)"):
        x.copyto(nd.zeros((3,)))


def test_as_in_context_is_the_array_itself_where_it_is():
    x = nd.ones((2,))
    assert x.as_in_context(mx.current_context()) is x
    assert x.as_in_ctx(x.context) is x


def test_detach_shares_memory():
    x = nd.ones((2,))
    y = x.detach()
    y[:] = 3
    equal(x, [3, 3])


def test_waiting():
    x = nd.ones((1000,)) * 2
    x.wait_to_read()
    nd.waitall()
    assert x.asnumpy().sum() == 2000


# Methods


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        ("sum", {"axis": 0}, X.sum(0)),
        ("mean", {"axis": 1, "keepdims": True}, X.mean(1, keepdims=True)),
        ("max", {}, [X.max()]),
        ("argmax", {"axis": 1}, X.argmax(1)),
        ("clip", {"a_min": 1, "a_max": 4}, X.clip(1, 4)),
        ("exp", {}, np.exp(X)),
        ("sigmoid", {}, 1 / (1 + np.exp(-X))),
        ("softmax", {"axis": 0}, np.exp(X) / np.exp(X).sum(0)),
        ("expand_dims", {"axis": 1}, X[:, None]),
        ("slice_axis", {"axis": 1, "begin": 0, "end": 2}, X[:, :2]),
        ("flip", {"axis": 1}, X[:, ::-1]),
    ],
)
def test_ops_are_methods(method, arguments, expected):
    equal(getattr(nd.array(X), method)(**arguments), expected)


def test_every_method_has_a_docstring():
    for key, value in vars(nd.NDArray).items():
        if callable(value) and not key.startswith("_"):
            assert value.__doc__, key
