"""Every elementwise op of the table: values, dtypes, broadcasting, special values, calls."""

import math

import numpy as np
import pytest
from elementwise_cases import PARTS, REFERENCES, Case, cases, draw

from clgrad import autograd, nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.registry import Elementwise, table
from clgrad.test_utils import gradcheck, gradgradcheck

SQRT_HALF = math.sqrt(0.5)

#: Units in the last place by which a device function may be off. OpenCL C 3.0, table 65, allows 16
#: and leaves lgamma and tgamma open; the polygamma series ends in a power, of 16 itself.
ULPS = {"polygamma": 64, "gamma": 64, "gammaln": 64, "digamma": 64, "erfinv": 64}

FLOATS = ["float32", pytest.param("float64", marks=pytest.mark.requires("fp64"))]

INTEGERS = ["int32", "int64", "uint8", "int8"]

#: What the coverage test counts as tested here: all of the table, and the composite ``where``.
COVERS = {
    **{op.name: () for op in table.values() if isinstance(op, Elementwise) and op.name not in PARTS},
    "where": ("_select",),
}


def close(actual: nd.NDArray, expected: np.ndarray, ulps: int, dtype: str) -> None:
    """Equal up to some rounding errors of the numbers, and of 1 where numbers cancelled."""
    assert np.dtype(actual.dtype) == dtype
    assert actual.shape == expected.shape
    kind = np.dtype(dtype)
    unit = np.finfo(kind).eps
    rtol = unit if dtype == "float16" else ulps * unit
    atol = np.finfo(kind).smallest_subnormal if dtype == "float16" else 4 * unit
    with np.errstate(over="ignore"):
        expected = expected.astype(kind)
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=rtol, atol=atol)


def shapes_of(case: Case, size) -> list:
    return [size] * len(case.arguments)


# Values


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", cases())
def test_values(case, dtype, rng):
    check_values(case, dtype, rng)


def check_values(case, dtype, rng) -> None:
    """Sizes below, between and above the vector widths, of arrays at an odd offset."""
    for size in (1, 17, 1037):
        hosts = draw(rng, case, shapes_of(case, (size,)), dtype)
        arrays = [nd.array(np.concatenate([h[:1]] * 3 + [h]), dtype=h.dtype)[3:] for h in hosts]
        exact = [h.astype(np.float64) if h.dtype.kind == "f" else h for h in hosts]
        close(case(*arrays), case.reference(*exact), ULPS.get(case.op.name, 16), dtype)


#: Storage in float16 changes loads and stores, not formulas: one op of each kind of formula.
OF_EACH_KIND = {"exp", "divide", "relu", "erfinv", "modulo", "greater", "_select"}


@pytest.mark.parametrize("case", cases(lambda op: op.name in OF_EACH_KIND))
def test_values_in_halves(case, rng):
    """Computed in float32 and rounded once."""
    check_values(case, "float16", rng)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("case", cases(lambda op: op.testing.get("integers")))
def test_values_of_integers(case, dtype, rng):
    """The whole range of the small dtypes, with wrap-around; exact."""
    if case.op.name == "clip":
        case = Case(case.op, {"a_min": 3, "a_max": 50})
    info = np.iinfo(dtype)
    low, high = max(info.min, -20000), min(info.max, 20000)
    hosts = [rng.integers(low, high, 103, dtype=dtype, endpoint=True) for _ in case.arguments]
    if case.op.name == "modulo":
        hosts[1][hosts[1] == 0] = 3
    with np.errstate(over="ignore"):
        expected = case.reference(*hosts).astype(dtype)
    actual = case(*(nd.array(h, dtype=dtype) for h in hosts))
    assert np.dtype(actual.dtype) == dtype
    np.testing.assert_array_equal(actual.asnumpy(), expected)


@pytest.mark.parametrize("number_first", [False, True])
@pytest.mark.parametrize("case", cases(arity=2))
def test_array_and_number(case, number_first, rng):
    """A number stands for an array of it; in an integer op it is truncated, as in MXNet."""
    (x, _), number = draw(rng, case, [(21,), (21,)], "float32"), 1.375
    pair, host = (
        ((number, nd.array(x)), (number, x)) if number_first else ((nd.array(x), number), (x, number))
    )
    with np.errstate(invalid="ignore"):
        expected = case.reference(*(np.asarray(v, np.float64) for v in host))
    close(case(*pair), expected, 16, "float32")
    if case.op.testing.get("integers"):
        whole = np.arange(1, 40, dtype="int32")
        pair = (2.75, nd.array(whole, dtype="int32"))
        host = (np.int32(2), whole)
        pair, host = (pair, host) if number_first else (pair[::-1], host[::-1])
        np.testing.assert_array_equal(case(*pair).asnumpy(), case.reference(*host).astype("int32"))


@pytest.mark.parametrize("case", cases(lambda op: op.broadcasts, arity=2))
def test_outer_product_of_axes(case, rng):
    hosts = draw(rng, case, [(1, 5), (3, 1)], "float32")
    expected = case.reference(*(h.astype(np.float64) for h in hosts))
    close(case(*map(nd.array, hosts)), expected, 16, "float32")


#: Pairs of shapes whose strides take different ways through the kernel.
PAIRS = {
    "leading": ((37,), (3, 37)),
    "trailing": ((4, 33), (4, 1)),
    "middle": ((2, 1, 19), (2, 5, 19)),
    "both": ((3, 1, 18, 1), (1, 4, 18, 5)),
    "one": ((1,), (2, 17)),
    "no axes": ((), (2, 17)),
    "same": ((2, 3, 4, 5, 6), (2, 3, 4, 5, 6)),
    "empty": ((0, 3), (1, 3)),
}


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
def test_broadcast_pairs(pair, swap, rng):
    shapes = PAIRS[pair][::-1] if swap else PAIRS[pair]
    lhs, rhs = (rng.standard_normal(s).astype("float32") for s in shapes)
    y = nd.subtract(nd.array(lhs), nd.array(rhs))
    assert y.shape == (lhs - rhs).shape
    np.testing.assert_array_equal(y.asnumpy(), lhs - rhs)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param("float64", marks=pytest.mark.requires("fp64")),
        "float16",
        "int64",
        "int8",
        "bool",
    ],
)
@pytest.mark.parametrize("condition_dtype", ["float32", "int8", "int64", "bool", "float16"])
def test_where_with_any_condition(condition_dtype, dtype, rng):
    """Condition and values may differ in width: the mask has to be converted."""
    condition = rng.integers(0, 2, (3, 21)).astype(condition_dtype)
    if condition_dtype == "float32":
        condition[0, :3] = -0.0, np.nan, 1e-30
    x, y = (rng.integers(0, 2 if dtype == "bool" else 100, (3, 21)).astype(dtype) for _ in "xy")
    z = nd.where(*(nd.array(h, dtype=h.dtype) for h in (condition, x, y)))
    assert np.dtype(z.dtype) == dtype
    np.testing.assert_array_equal(z.asnumpy(), np.where(condition != 0, x, y))


def test_where_with_a_vector_chooses_rows(rng):
    x, y = rng.standard_normal((2, 4, 3)).astype("float32")
    z = nd.where(nd.array([1, 0, 0, 1]), nd.array(x), nd.array(y))
    np.testing.assert_array_equal(z.asnumpy(), np.stack([x[0], y[1], y[2], x[3]]))


def test_bool_arrays():
    a, b = np.array([0, 0, 1, 1] * 9, bool), np.array([0, 1, 0, 1] * 9, bool)
    x, y = nd.array(a, dtype=bool), nd.array(b, dtype=bool)
    for name, expected in {
        "logical_and": a & b,
        "logical_or": a | b,
        "logical_xor": a ^ b,
        "equal": a == b,
        "not_equal": a != b,
        "greater": a > b,
        "lesser_equal": a <= b,
        "add": a | b,
        "multiply": a & b,
        "maximum": a | b,
    }.items():
        z = getattr(nd, name)(x, y)
        assert z.dtype is np.bool_, name
        np.testing.assert_array_equal(z.asnumpy(), expected, err_msg=name)
    np.testing.assert_array_equal(nd.logical_not(x).asnumpy(), ~a)


# Special values

#: Numbers at which definitions, and not roundings, decide.
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-30, -1e-30, 0.5, 2.0], "float32"
)

#: Where the definition here is not the reference's: MXNet has x % 0 = 0.
SPECIAL_RESULTS = {"modulo": lambda lhs, rhs, y: np.where(rhs == 0, 0, y)}

#: Ops with poles at whole numbers, whose limit depends on the side: see test_poles.
POLES = {"gamma", "gammaln", "digamma", "polygamma"}

#: Odd functions, and others that keep the sign of 0 (ISO C11, annex F).
KEEP_SIGN_OF_ZERO = [
    *("identity", "sin", "tan", "arcsin", "arctan", "sinh", "tanh", "arcsinh", "arctanh", "expm1"),
    *("log1p", "sqrt", "cbrt", "floor", "ceil", "rint", "round", "trunc", "erf"),
]


@pytest.mark.parametrize("case", cases(lambda op: op.name not in POLES and len(op.arguments) < 4))
def test_special_values(case):
    """Signed zeros, infinities, NaN and numbers near the largest follow IEEE 754 and numpy."""
    hosts = [SPECIAL]
    if len(case.arguments) == 2:
        hosts = [np.repeat(SPECIAL, SPECIAL.size), np.tile(SPECIAL, SPECIAL.size)]
    if len(case.arguments) == 3:
        hosts = [np.tile([0, 1], SPECIAL.size), np.repeat(SPECIAL, 2), -np.repeat(SPECIAL, 2)]
    with np.errstate(all="ignore"):
        exact = [h.astype(np.float64) for h in hosts]
        expected = case.reference(*exact).astype(np.float32)
        if case.op.name in SPECIAL_RESULTS:
            expected = SPECIAL_RESULTS[case.op.name](*exact, expected)
    actual = case(*(nd.array(h, dtype="float32") for h in hosts)).asnumpy()
    np.testing.assert_allclose(actual, expected, rtol=4e-6, atol=1e-37)


@pytest.mark.parametrize("name", KEEP_SIGN_OF_ZERO)
def test_sign_of_zero_is_kept(name):
    y = table[name](nd.array([-0.0] * 17 + [0.0])).asnumpy()
    np.testing.assert_array_equal(np.signbit(y), [True] * 17 + [False])


@pytest.mark.parametrize("name", ["gamma", "gammaln", "digamma", "polygamma"])
def test_poles(name):
    """Where both sides agree, a pole is that infinity; where they differ, NaN but for gamma(0)."""
    x = nd.array([0.0, -1.0, -2.0, np.nan, np.inf])
    y = table[name](x).asnumpy()
    inf, nan = np.inf, np.nan
    expected = {
        "gamma": [inf, nan, nan, nan, inf],
        "gammaln": [inf, inf, inf, nan, inf],
        "digamma": [nan, nan, nan, nan, inf],
        "polygamma": [nan, nan, nan, nan, inf],
    }[name]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("name", ["erfinv", "digamma", "polygamma", "gamma", "gammaln"])
def test_wide_domains(name, rng):
    """Beyond the domain that gradients are tested in: every branch of the approximations."""
    x = {
        "erfinv": np.concatenate([rng.uniform(-1, 1, 200), 1 - 10.0 ** -np.arange(1, 7)]),
        "digamma": np.concatenate([rng.uniform(-5, 30, 200), [1e-3, 100.5, 1e6]]),
        "polygamma": np.concatenate([rng.uniform(0.1, 30, 200), [100.5, 1000.0]]),
        "gamma": np.concatenate([rng.uniform(-5, 30, 200), [1e-3, 34.5, 40.0]]),
        "gammaln": np.concatenate([rng.uniform(0.1, 30, 200), [1e-3, 100.5, 1e6]]),
    }[name].astype("float32")
    x = x[np.abs(x - np.round(x)) > 0.05] if name in ("digamma", "gamma") else x
    attributes = {"n": 2} if name == "polygamma" else {}
    with np.errstate(over="ignore"):
        expected = REFERENCES[name](x.astype(np.float64), **attributes).astype("float32")
    actual = table[name](nd.array(x), **attributes).asnumpy()
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=4e-6)


def test_logistic_functions_do_not_overflow():
    """exp of a large number is infinite; sigmoid and softrelu are not."""
    x = nd.array([-1000.0, -100.0, 100.0, 1000.0])
    np.testing.assert_allclose(nd.sigmoid(x).asnumpy(), [0, 0, 1, 1], atol=1e-37)
    np.testing.assert_allclose(table["softrelu"](x).asnumpy(), [0, 0, 100, 1000], atol=1e-37)
    x.attach_grad()
    for name, expected in {
        "sigmoid": [0, 0, 0, 0],
        "softrelu": [0, 0, 1, 1],
        "tanh": [0] * 4,
    }.items():
        with autograd.record():
            y = table[name](x)
        y.backward()
        np.testing.assert_allclose(x.grad.asnumpy(), expected, atol=4e-7, err_msg=name)


# Integers where real numbers are meant


def test_division_of_integers_is_that_of_c():
    """Truncated; 0 where the divisor is 0 (that stops MXNet's process); no trap at the minimum."""
    x = nd.array([7, -7, 5, -(2**31), 0], dtype="int32")
    y = nd.array([2, 2, 0, -1, 0], dtype="int32")
    np.testing.assert_array_equal((x / y).asnumpy(), [3, -3, 0, -(2**31), 0])
    np.testing.assert_array_equal((x % y).asnumpy(), [1, 1, 0, 0, 0])
    np.testing.assert_array_equal((nd.array([200, 7], dtype="uint8") / 3).asnumpy(), [66, 2])


@pytest.mark.parametrize("exponent", [2, 3, 2.0, np.float32(3)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_squares_and_cubes_are_products(dtype, exponent):
    """Not by pow, whose errors differ, and which takes ten times as long; whatever spells the number."""
    x = nd.array([-3.7, -1.1, 0.0, 1e-3, 2.3], dtype=dtype)
    expected = x * x if exponent == 2 else x * x * x
    for y in (
        x**exponent,
        nd.power(x, exponent),
        nd.power(base=x, exp=exponent),
        nd.power(x, exponent, out=x + 0),
    ):
        tolerance = 2e-3 if dtype == "float16" else 0
        np.testing.assert_allclose(y.asnumpy(), expected.asnumpy(), rtol=tolerance)
    if dtype == "float32":
        gradcheck(lambda x: x**exponent, [x])
        gradgradcheck(lambda x: x**exponent, [x])


def test_powers_of_integers_are_exact():
    x = nd.array([3, -3, 2, 1, -1, 0, 7], dtype="int64")
    y = nd.array([39, 39, 62, -5, -5, 0, -1], dtype="int64")
    np.testing.assert_array_equal((x**y).asnumpy(), [3**39, -(3**39), 2**62, 1, -1, 1, 0])


def test_real_functions_of_integers_are_truncated():
    x = nd.array([0, 1, 2, 3], dtype="int32")
    np.testing.assert_array_equal(nd.exp(x).asnumpy(), [1, 2, 7, 20])
    assert nd.exp(x).dtype is np.int32
    np.testing.assert_array_equal(nd.sqrt(nd.array([10, 200], dtype="uint8")).asnumpy(), [3, 14])
    np.testing.assert_array_equal(nd.reciprocal(nd.array([1, 2, -1], dtype="int32")).asnumpy(), [1, 0, -1])


def test_comparisons_keep_the_dtype():
    x = nd.array([1, 2, 3], dtype="int8")
    assert (x > 2).dtype is np.int8
    assert (nd.array([1.0]) == 1).dtype is np.float32


def test_ops_with_a_name_have_a_reference():
    """In their declaration or here."""
    found = {op.name: op for op in table.values() if isinstance(op, Elementwise)}
    bare = {n for n, op in found.items() if "reference" not in op.testing and n not in REFERENCES}
    assert {n for n in bare if not n.startswith("_")} == set()


# Calling


def test_ops_on_numbers_give_numbers():
    assert nd.maximum(2, 3) == 3
    assert nd.modulo(-7, 3) == 2
    assert nd.power(2, 0.5) == pytest.approx(math.sqrt(2))
    assert nd.hypot(lhs=3, rhs=4) == 5


def test_out_receives_the_result():
    x, out = nd.array([1.0, 2.0]), nd.zeros((2,))
    assert nd.exp(x, out=out) is out
    np.testing.assert_allclose(out.asnumpy(), np.exp([1, 2]), rtol=1e-6)
    nd.add(x, 1, out=x)  # each element is read before it is written
    np.testing.assert_array_equal(x.asnumpy(), [2, 3])


def test_name_is_accepted():
    np.testing.assert_array_equal(nd.add(nd.ones((2,)), 1, name="sum").asnumpy(), [2, 2])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda x: nd.add(x, nd.ones((2, 3), dtype="int32")),
            OperatorTypeError,
            "add: 'lhs' has dtype float32 and 'rhs' has dtype int32; accepted: one dtype",
        ),
        (
            lambda x: nd.add(x, nd.ones((4,))),
            OperatorError,
            r"add: shapes are lhs \(2, 3\), rhs \(4,\); accepted: shapes that broadcast",
        ),
        (
            lambda x: nd.elemwise_add(x, nd.ones((3,))),
            OperatorError,
            r"elemwise_add: shapes are lhs \(2, 3\), rhs \(3,\); accepted: equal shapes",
        ),
        (
            lambda x: nd.add(x, "1"),
            OperatorTypeError,
            "add: argument 'rhs' is str; accepted: NDArray or a number",
        ),
        (lambda x: nd.add(x), OperatorTypeError, "add: array argument 'rhs' is missing"),
        (
            lambda x: nd.add(x, x, x),
            OperatorTypeError,
            "add: 3 positional arguments given; accepted: lhs, rhs",
        ),
        (lambda x: nd.add(x, x, lhs=x), OperatorTypeError, "add: argument 'lhs' is given twice"),
        (lambda x: nd.add(x, x, axis=1), OperatorTypeError, "add: unknown argument 'axis'"),
        (lambda x: nd.clip(x, 0), OperatorTypeError, "clip: argument 'a_max' is missing"),
        (
            lambda x: nd.clip(x, 0, x),
            OperatorTypeError,
            "clip: argument 'a_max' is NDArray; accepted: a number",
        ),
        (
            lambda x: nd.exp(x, out=nd.zeros((3,))),
            OperatorError,
            r"exp: out has shape \(3,\) and dtype float32; accepted: shape \(2, 3\) and dtype",
        ),
    ],
)
def test_errors_name_op_and_argument(call, kind, message):
    with pytest.raises(kind, match=message):
        call(nd.ones((2, 3)))
