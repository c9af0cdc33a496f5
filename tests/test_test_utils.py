"""The gradient checkers must catch wrong rules: every kind of mistake, at both orders."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.device import current_context
from clgrad.test_utils import assert_almost_equal, gradcheck, gradgradcheck, same

X = np.array([0.5, -1.25, 2.0])
DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.requires("fp64"))]


def cube_with(backward):
    """x**3 as a Function whose backward(dy, x) is given."""

    class Cube(autograd.Function):
        def forward(self, x):
            self.save_for_backward(x)
            return x * x * x

        def backward(self, dy):
            (x,) = self.saved_tensors
            return backward(dy, x)

    return lambda x: Cube()(x)


def first_order_only(dy, x):
    """Right, but computed outside the graph: its own derivative by x is lost."""
    with autograd.pause():
        slope = 3 * x * x
    return dy * slope


def right(dy, x):
    return dy * 3 * x * x


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_rules_pass(dtype):
    gradcheck(cube_with(right), [X], dtype=dtype)
    gradgradcheck(cube_with(right), [X], dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda dy, x: dy * 2 * x * x, id="factor"),
        pytest.param(lambda dy, x: dy * 3.02 * x * x, id="less than a percent"),
        pytest.param(lambda dy, x: -dy * 3 * x * x, id="sign"),
        pytest.param(lambda dy, x: 3 * x * x, id="head gradient ignored"),
        pytest.param(lambda dy, x: nd.abs(dy) * 3 * x * x, id="head gradient's sign lost"),
        pytest.param(lambda dy, x: nd.flip(dy, axis=0) * 3 * x * x, id="head gradient misplaced"),
        pytest.param(lambda dy, x: dy * x, id="another function"),
        pytest.param(lambda dy, x: dy * 3 * x * x * nd.array([1, 1, 0], dtype=x.dtype), id="one element"),
        pytest.param(lambda dy, x: dy * 3 * x * x * np.nan, id="NaN"),
        pytest.param(lambda dy, x: None, id="no gradient"),
    ],
)
def test_wrong_rules_are_caught(wrong, dtype):
    with pytest.raises(AssertionError, match=r"gradient of inputs\[0\]: \d of 3 elements differ"):
        gradcheck(cube_with(wrong), [X], dtype=dtype)


@pytest.mark.requires("fp64")
@pytest.mark.parametrize(
    ("backward", "accepted"),
    [
        pytest.param(right, True, id="right"),
        pytest.param(lambda dy, x: dy * 3.00002 * x * x, False, id="factor"),
        pytest.param(
            lambda dy, x: dy * 3 * x * x * (nd.arange(60) != 17).astype("float64"), False, id="element"
        ),
        pytest.param(lambda dy, x: nd.flip(dy, axis=0) * 3 * x * x, False, id="misplaced"),
    ],
)
def test_random_directions(backward, accepted):
    """One wrong element of many shows as well; second order is as wrong as the rule that it is made of."""
    x = np.linspace(-2, 2, 60)
    if accepted:
        gradcheck(cube_with(backward), [x], directions=2)
        gradgradcheck(cube_with(backward), [x], order=3, directions=2)
    else:
        with pytest.raises(AssertionError, match=r"gradient of inputs\[0\]: [12] of 2 directions differ"):
            gradcheck(cube_with(backward), [x], directions=2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rules_wrong_at_second_order_only_are_caught(dtype):
    f = cube_with(first_order_only)
    gradcheck(f, [X], dtype=dtype)
    with pytest.raises(AssertionError, match=r"second-order gradient of inputs\[0\]: 3 of 3 elements"):
        gradgradcheck(f, [X], dtype=dtype)


def test_head_gradients_are_checked_at_second_order():
    """A rule that takes the head gradient out of the graph is right by x and wrong by dy."""
    f = cube_with(lambda dy, x: dy.detach() * 3 * x * x)
    gradcheck(f, [X])
    with pytest.raises(AssertionError, match=r"second-order gradient of inputs\[1\]"):
        gradgradcheck(f, [X])


def test_the_input_that_is_wrong_is_named():
    class Product(autograd.Function):
        def forward(self, x, y):
            self.save_for_backward(x, y)
            return x * y

        def backward(self, dy):
            _, y = self.saved_tensors
            return dy * y, dy * y  # should be dy * x

    with pytest.raises(AssertionError, match=r"gradient of inputs\[1\]: 1 of 2 .* worst at \(1,\)"):
        gradcheck(lambda x, y: Product()(x, y), [np.array([1.5, 2.0]), np.array([1.5, -1.0])])


def test_every_output_is_checked():
    class Twice(autograd.Function):
        def forward(self, x):
            return x * 2, x * 3

        def backward(self, da, db):
            return da * 2  # db is forgotten

    with pytest.raises(AssertionError, match="3 of 3 elements differ"):
        gradcheck(lambda x: Twice()(x), [X])


def test_broadcast_gradients_are_sums():
    gradcheck(lambda x, y: x * y, [np.ones((2, 3)), X])


def test_outputs_without_a_gradient_have_a_derivative_of_zero():
    gradcheck(nd.sign, [X])
    gradgradcheck(nd.sign, [X])
    gradcheck(lambda x: nd.ones((2,), dtype=x.dtype), [X])  # does not depend on x at all
    with pytest.raises(AssertionError, match="autograd gives 0"):
        gradcheck(nd.BlockGrad, [X])


def test_whole_numbers_are_passed_as_they_are():
    indices = np.array([2, 0], np.int32)

    def f(x, i):
        assert i.dtype is np.int32
        return nd.take(x, i) ** 2

    gradcheck(f, [X, indices])
    gradgradcheck(f, [X, indices])


def test_the_dtype_is_the_most_exact_one():
    seen = set()

    def f(x):
        seen.add(x.dtype)
        return x * x

    gradcheck(f, [X.astype(np.float16)])
    fp64 = current_context().device.capabilities.fp64
    assert seen == {np.float64 if fp64 else np.float32}
    with pytest.raises(ValueError, match="gradcheck: dtype='float16'; accepted: float32, float64"):
        gradcheck(f, [X], dtype="float16")


def test_tolerances_and_step():
    f = cube_with(lambda dy, x: dy * 3.02 * x * x)
    gradcheck(f, [X], rtol=0.02)
    with pytest.raises(AssertionError, match=r"rtol=0, atol=1e-15"):
        gradcheck(cube_with(right), [X], rtol=0, atol=1e-15)
    # the difference of x**3 over a step of 1 is off by 1: the truncation error h**2 / 6 * 6
    with pytest.raises(AssertionError, match="gradient of inputs"):
        gradcheck(cube_with(right), [X[:1]], eps=1.0)


def test_results_do_not_depend_on_the_recording_state():
    with autograd.record():
        gradcheck(cube_with(right), [X])
    assert not autograd.is_recording()


# Comparisons


def test_same():
    assert same(nd.array([1, 2]), np.array([1, 2]))
    assert not same(nd.array([1, 2]), nd.array([1, 3]))
    assert not same(nd.array([1, 1]), nd.array([[1, 1]]))
    assert not same(nd.array([np.nan]), nd.array([np.nan]))


@pytest.mark.parametrize(
    ("a", "b", "options"),
    [
        ([1.0], [1.00001], {}),
        ([1.0], [1.1], {"rtol": 0.2}),
        ([0.0], [0.1], {"atol": 0.2}),
        ([np.nan, 1.0], [np.nan, 1.0], {"equal_nan": True}),
        ([np.inf], [np.inf], {}),
    ],
)
def test_almost_equal(a, b, options):
    assert_almost_equal(nd.array(a), np.float32(b), **options)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.float32([1.0]), np.float32([1.001])),
        (np.float32([0.0]), np.float32([1e-4])),
        (np.float32([np.nan]), np.float32([np.nan])),
        (np.float32([np.inf]), np.float32([-np.inf])),
        (np.int32([1]), np.int32([2])),
        (np.float32([1, 1]), np.float32([[1, 1]])),
        (np.float64([1.0]), np.float64([1.0001])),
    ],
)
def test_not_almost_equal(a, b):
    with pytest.raises(AssertionError):
        assert_almost_equal(a, b)


def test_the_message_names_the_arrays():
    with pytest.raises(AssertionError, match="x is mine, y is yours"):
        assert_almost_equal(nd.zeros((2,)), nd.ones((2,)), names=("mine", "yours"))
