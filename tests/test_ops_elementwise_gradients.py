"""Gradients of every elementwise op of the table: rules, generated kernels, ties and kinks."""

import numpy as np
import pytest
from elementwise_cases import PARTS, Case, cases, draw

from clgrad import autograd, nd
from clgrad.registry import table
from clgrad.test_utils import gradcheck, gradgradcheck

#: Ops whose gradient is not the derivative of their value, on purpose.
NO_DERIVATIVE = {
    "BlockGrad",
    "make_loss",
    "contrib.round_ste",
    "contrib.sign_ste",
    "contrib.gradientmultiplier",
    "multi_lars",
}


def draw_smooth(rng, case: Case, shapes, dtype) -> list[np.ndarray]:
    """As ``draw``, for few elements; the ratio of two arguments keeps away from whole numbers too.

    At 1 maximum and the comparisons have their kink or jump, at the others modulo has its jumps.
    """
    while True:
        arrays = draw(rng, case, shapes, dtype)
        if len(arrays) != 2:
            return arrays
        ratio = np.divide(*(a.astype(np.float64) for a in arrays))
        if np.abs(ratio - np.round(ratio)).min() > 0.01:
            return arrays


def differentiable(op) -> bool:
    return op.name not in NO_DERIVATIVE


#: For two and three arguments: one of the output's shape, one that is broadcast.
GRADIENT_SHAPES = {1: [(5,)], 2: [(2, 3), (3,)], 3: [(2, 1), (1, 3), (2, 3)]}

EQUAL_SHAPES = {2: [(5,), (5,)]}


def gradient_inputs(case: Case, rng, dtype="float64") -> list[np.ndarray]:
    shapes = GRADIENT_SHAPES if case.op.broadcasts else EQUAL_SHAPES
    return draw_smooth(rng, case, shapes[len(case.arguments)], dtype)


@pytest.mark.parametrize("case", cases(differentiable))
def test_gradient(case, rng):
    """Against finite differences; ops without a rule have a derivative of 0 and so pass too."""
    gradcheck(case, gradient_inputs(case, rng))


@pytest.mark.parametrize("case", cases(lambda op: differentiable(op) and op.gradients))
def test_second_gradient(case, rng):
    gradgradcheck(case, gradient_inputs(case, rng))


def gradients(f, hosts, create_graph: bool) -> list[np.ndarray]:
    """Gradients of every real argument for a head gradient that differs from place to place."""
    arrays = [nd.array(h, dtype=h.dtype) for h in hosts]
    real = [x for x in arrays if np.dtype(x.dtype).kind == "f"]
    for x in real:
        x.attach_grad()
    with autograd.record():
        y = f(*arrays)
    dy = nd.array(np.cos(np.arange(y.size)).reshape(y.shape), dtype=y.dtype)
    return [g.asnumpy() for g in autograd.grad(y, real, dy, create_graph=create_graph)]


def assert_kernel_is_rule(f, hosts) -> None:
    """The fused gradient kernel gives what the recorded rule gives, up to roundings."""
    fused, recorded = (gradients(f, hosts, create_graph) for create_graph in (False, True))
    for host, kernel, rule in zip([h for h in hosts if h.dtype.kind == "f"], fused, recorded, strict=True):
        assert kernel.shape == rule.shape == host.shape
        scale = max(1, np.abs(rule).max(initial=0))
        np.testing.assert_allclose(kernel, rule, rtol=4e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("case", cases(lambda op: op.gradients))
def test_gradient_kernel_is_the_recorded_rule(case, rng):
    """Arguments all of the output's shape share one launch; each broadcast one has its own."""
    arity = len(case.arguments)
    assert_kernel_is_rule(case, draw(rng, case, [(37,)] * arity, "float32"))
    if arity > 1 and case.op.broadcasts:
        broadcast = {2: [(3, 1, 5), (4, 1)], 3: [(3, 1), (4, 1, 5), (3, 5)]}[arity]
        assert_kernel_is_rule(case, draw(rng, case, broadcast, "float32"))


@pytest.mark.parametrize("number_first", [False, True])
@pytest.mark.parametrize("case", cases(lambda op: op.gradients, arity=2))
def test_gradient_kernel_beside_a_number(case, number_first, rng):
    """A number in an argument's place is passed to the gradient kernel as well."""
    x, _ = draw(rng, case, [(21,), (21,)], "float32")
    assert_kernel_is_rule((lambda a: case(1.375, a)) if number_first else (lambda a: case(a, 1.375)), [x])
    (fused,) = gradients(
        (lambda a: case(1.375, a)) if number_first else (lambda a: case(a, 1.375)), [x], False
    )
    number = np.full_like(x, 1.375)
    pair = [number, x] if number_first else [x, number]
    np.testing.assert_allclose(fused, gradients(case, pair, False)[number_first], rtol=4e-6, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in PARTS if n in table and table[n].gradients])
def test_gradient_kernel_of_parts_is_the_recorded_rule(name, rng):
    op = table[name]
    shapes = [(2, 3, 5), *[(1, 3, 1)] * (len(op.arguments) - 1)]
    hosts = [rng.uniform(0.5, 2, s).astype("float32") for s in shapes]
    hosts[0] -= 1.2
    assert_kernel_is_rule(lambda *arrays: op(*arrays, **PARTS[name]), hosts)


def test_gradient_of_a_broadcast_half_is_summed_in_float32():
    """A sum of 4096 ones in float16 would end at 2048."""
    x, b = nd.ones((4096, 1), dtype="float16"), nd.ones((1,), dtype="float16")
    b.attach_grad()
    with autograd.record():
        y = x * b
    y.backward()
    assert b.grad.asscalar() == 4096


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_only_the_gradients_that_are_wanted(wanted, rng):
    """An argument without attach_grad costs no gradient, and the other one is right."""
    hosts = rng.uniform(1, 2, (2, 7)).astype("float32")
    arrays = [nd.array(h) for h in hosts]
    for x, want in zip(arrays, wanted, strict=True):
        if want:
            x.attach_grad()
    with autograd.record():
        y = arrays[0] / arrays[1]
    y.backward()
    a, b = hosts.astype(np.float64)
    expected = 1 / b if wanted[0] else -a / b**2
    np.testing.assert_allclose(arrays[wanted.index(True)].grad.asnumpy(), expected, rtol=1e-6)


def head(x: nd.NDArray, f) -> np.ndarray:
    x.attach_grad()
    with autograd.record():
        y = f(x)
    y.backward(nd.array(np.full(y.shape, 3.0)))
    return x.grad.asnumpy()


def test_gradient_is_blocked():
    np.testing.assert_array_equal(head(nd.array([1.0, 2.0]), lambda x: nd.BlockGrad(x) * x), [3, 6])
    np.testing.assert_array_equal(head(nd.array([1.0, 2.0]), nd.stop_gradient), [0, 0])


def test_a_loss_has_gradient_one_whatever_the_head():
    np.testing.assert_array_equal(head(nd.array([1.0, 2.0]), nd.make_loss), [1, 1])
    np.testing.assert_array_equal(head(nd.array([1.0, 2.0]), lambda x: nd.make_loss(x * x)), [2, 4])


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        pytest.param(nd.abs, [0.0, -0.0], [0, 0], id="abs"),
        pytest.param(nd.relu, [0.0, -0.0], [0, 0], id="relu"),
        pytest.param(lambda x: nd.clip(x, -1, 1), [-1.0, 1.0, -1.5, 1.5], [3, 3, 0, 0], id="clip"),
        pytest.param(nd.sign, [0.0, 2.0], [0, 0], id="sign"),
        pytest.param(lambda x: nd.maximum(x, x), [1.0, 2.0], [3, 3], id="maximum of itself"),
        pytest.param(lambda x: nd.power(x, 0), [0.0, 2.0], [0, 0], id="power 0"),
        pytest.param(lambda x: nd.power(x, 1), [0.0, 2.0], [3, 3], id="power 1"),
        pytest.param(lambda x: nd.power(x, 2), [0.0, -2.0], [0, -12], id="power 2"),
        pytest.param(lambda x: nd.power(0, x), [1.0, 2.0], [0, 0], id="power of 0"),
        pytest.param(lambda x: nd.smooth_l1(x), [0.0, 1.0, -1.0], [0, 3, -3], id="smooth_l1"),
    ],
)
def test_gradient_where_there_is_no_derivative(f, x, expected):
    """Conventions at kinks, for a head gradient of 3."""
    np.testing.assert_array_equal(head(nd.array(x), f), expected)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_go_to_the_left(name):
    x, y = nd.array([1.0, 2.0]), nd.array([1.0, 2.0])
    x.attach_grad()
    y.attach_grad()
    with autograd.record():
        z = table[name](x, y)
    z.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [1, 1])
    np.testing.assert_array_equal(y.grad.asnumpy(), [0, 0])


def test_third_derivative():
    x = nd.array([0.3, -0.7])
    x.attach_grad()
    with autograd.record():
        y = nd.sigmoid(x)
        for _ in range(3):
            (y,) = autograd.grad(y, x, create_graph=True)
    s = 1 / (1 + np.exp(-x.asnumpy().astype(np.float64)))
    np.testing.assert_allclose(y.asnumpy(), s * (1 - s) * (1 - 6 * s + 6 * s * s), rtol=1e-5)
