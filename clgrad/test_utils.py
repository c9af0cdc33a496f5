"""What tests of gradients and values need: finite differences to second order, comparisons.

Names and meanings are those of ``mxnet.test_utils`` where it has them.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from clgrad import absent as _absent
from clgrad import autograd, dtypes, nd
from clgrad.array import NDArray
from clgrad.device import current_context, num_gpus

__all__ = ["assert_almost_equal", "gradcheck", "gradgradcheck", "list_gpus", "same"]
__getattr__ = _absent.getter("mx.test_utils", __name__)

#: Default (rtol, atol) of :func:`assert_almost_equal` for the less precise of two dtypes.
TOLERANCES = {
    "float16": (1e-2, 1e-3),
    "bfloat16": (4e-2, 4e-3),
    "float32": (1e-4, 1e-6),
    "float64": (1e-5, 1e-12),
}

#: Step of the central differences, about the cube root of the dtype's rounding error; a power of
#: two, so that adding it to a short number is exact.
STEPS = {"float32": 2.0**-8, "float64": 2.0**-17}

#: Default rtol and atol of :func:`gradcheck`. With the steps above, a central difference errs by
#: some 2e-5 in float32 and 2e-11 in float64, times values and third derivatives: these leave room
#: for them and for device functions with errors of 16 ulp, and a wrong rule errs by far more.
GRADIENT_TOLERANCES = {"float32": 3e-3, "float64": 1e-6}


def list_gpus() -> range:
    """The numbers that ``gpu(...)`` takes on this machine, as programs ask that want a GPU if there is one.

    Examples
    --------
    >>> import clgrad as mx
    >>> ctx = mx.gpu() if mx.test_utils.list_gpus() else mx.cpu()
    """
    return range(num_gpus())


def same(a, b) -> bool:
    """Whether two arrays have the same shape and equal elements; a NaN equals nothing.

    Parameters
    ----------
    a, b : NDArray, numpy.ndarray or sequence of numbers

    Examples
    --------
    >>> import clgrad as mx
    >>> from clgrad.test_utils import same
    >>> same(mx.nd.ones((2,)), [1, 1])
    True
    """
    return np.array_equal(_host(a), _host(b))


def assert_almost_equal(a, b, rtol=None, atol=None, names=("a", "b"), equal_nan=False) -> None:
    """Raise unless ``|a - b| <= atol + rtol * |b|`` in every element.

    Parameters
    ----------
    a, b : NDArray, numpy.ndarray or sequence of numbers
        Of one shape. Infinities agree with infinities of their sign.
    rtol, atol : float, optional
        Tolerances; by default those of the less precise of the two dtypes (:data:`TOLERANCES`), and
        0 where both are whole numbers. (MXNet's default ``atol`` of 1e-3 for float32 would accept
        any small number for any other.)
    names : pair of str
        What the message calls the two.
    equal_nan : bool
        Whether NaN agrees with NaN.

    Raises
    ------
    AssertionError
        Shapes differ, or elements do; the message shows the worst of them.

    Examples
    --------
    >>> import clgrad as mx
    >>> from clgrad.test_utils import assert_almost_equal
    >>> assert_almost_equal(mx.nd.exp(mx.nd.ones((1,))), [2.7182818])
    """
    a, b = _host(a), _host(b)
    default = max(TOLERANCES.get(x.dtype.name, (0, 0)) for x in (a, b))
    np.testing.assert_allclose(
        a,
        b,
        rtol=default[0] if rtol is None else rtol,
        atol=default[1] if atol is None else atol,
        equal_nan=equal_nan,
        strict=False,
        err_msg=f"x is {names[0]}, y is {names[1]}",
    )
    assert a.shape == b.shape, f"{names[0]} has shape {a.shape} and {names[1]} has shape {b.shape}"


def _host(a) -> np.ndarray:
    return a.asnumpy() if isinstance(a, NDArray) else np.asarray(a)


def gradcheck(
    f: Callable,
    inputs: Sequence,
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    dtype: str | None = None,
    directions: int | None = None,
) -> None:
    """Compare the gradients that ``backward`` computes with central finite differences.

    With some head gradients ``v``, the derivative of ``L = sum(v * f(x))`` by each element ``x[i]``
    is compared with ``sum(v * (f(x + h e_i) - f(x - h e_i))) / 2h``, ``h = eps * max(1, |x[i]|)``.
    The outputs are subtracted and summed in float64 on the host, so what errs is the truncation of
    the difference, ``h**2 / 6`` times the third derivative, and the rounding of the outputs over h.
    The cube root of the rounding error balances the two; see :data:`STEPS`.

    Parameters
    ----------
    f : callable
        Takes as many NDArrays as there are inputs; returns one NDArray or several. It must give the
        same result for the same input, and be smooth within ``2 * eps`` of it.
    inputs : sequence of NDArray or numpy.ndarray
        Where to check. Whole-number inputs are passed as they are and not differentiated.
    eps, rtol, atol : float, optional
        Step and tolerances (relative to the finite difference); by default chosen for the dtype.
    dtype : {'float64', 'float32'}, optional
        What to compute in. By default float64 where the device has it, since the rounding error
        limits the accuracy: 1e-6 is held in float64, and 3e-3 in float32.
    directions : int, optional
        Along how many random directions of each input to check the derivative, rather than by each of its
        elements: ``sum(u * gradient)`` for weights ``u`` of either sign, of magnitudes from 1/2 to 3/2. It
        takes two evaluations of f for each direction and not for each element, and a gradient that is wrong
        in one element is wrong along nearly every direction.

    Raises
    ------
    AssertionError
        A gradient differs; the message names the input, the element and both values.

    Examples
    --------
    >>> import clgrad as mx, numpy as np
    >>> from clgrad.test_utils import gradcheck
    >>> gradcheck(lambda x, w: mx.nd.exp(x) * w, [np.array([0.5, 1.0]), np.array([2.0, -1.0])])
    """
    _check(f, _prepare(inputs, dtype), eps, rtol, atol, "gradient", directions)


def gradgradcheck(
    f: Callable,
    inputs: Sequence,
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    dtype: str | None = None,
    order: int = 2,
    directions: int | None = None,
) -> None:
    """Compare gradients of higher order with finite differences of those one order below.

    The function ``g(x, v) = autograd.grad(f(x), x, head_grads=v, create_graph=True)`` goes through
    :func:`gradcheck`, in ``x`` as well as in the head gradients ``v``; for ``order=3`` the same
    is done to ``g``. What is compared is the derivative of the rules with the rules: that these are
    right is for :func:`gradcheck` to say.

    Parameters
    ----------
    f, inputs, eps, rtol, atol, dtype, directions
        As :func:`gradcheck`.
    order : int
        Order of the gradients that are checked, 2 or more.

    Raises
    ------
    AssertionError
        A gradient differs; inputs beyond those of ``f`` are head gradients.

    Examples
    --------
    >>> import clgrad as mx, numpy as np
    >>> from clgrad.test_utils import gradgradcheck
    >>> gradgradcheck(lambda x: x * mx.nd.sin(x), [np.array([0.5, 1.0])], order=3)
    """
    if order < 2:
        raise ValueError(f"gradgradcheck: order={order}; accepted: 2 or more")
    arrays = _prepare(inputs, dtype)
    for step in range(1, order):
        f, heads = _gradient_of(f, arrays, np.random.default_rng(step))
        arrays = [*arrays, *heads]
    what = {2: "second-order gradient", 3: "third-order gradient"}.get(order, f"gradient of order {order}")
    _check(f, arrays, eps, rtol, atol, what, directions)


def _gradient_of(f: Callable, arrays: list[NDArray], rng) -> tuple[Callable, list[NDArray]]:
    """The gradients of f as a function of its inputs and of head gradients; and such head gradients."""
    outputs = _evaluate(f, arrays)
    connected = [i for i, y in enumerate(outputs) if _in_graph(y)]
    heads = [nd.array(_weights(rng, outputs[i].shape), dtype=outputs[i].dtype) for i in connected]

    def gradient(*args):
        xs, vs = args[: len(arrays)], args[len(arrays) :]
        real = [x for x in xs if _is_real(x)]
        ys = [y for y in _as_list(f(*xs)) if _is_real(y)]
        # Beside the outputs, 0 * x: so every x has a gradient, be it 0.
        nothing = [x * 0 for x in real]
        heads = [ys[i] for i in connected] + nothing
        return autograd.grad(
            heads, real, [*vs, *(nd.ones(z.shape, z.context, z.dtype) for z in nothing)], create_graph=True
        )

    return gradient, heads


def _in_graph(y: NDArray) -> bool:
    return y._entry is not None and y._entry[0].in_graph


def _prepare(inputs: Sequence, dtype: str | None) -> list[NDArray]:
    """The inputs as arrays; real ones in the dtype to compute in."""
    if dtype is None:
        dtype = "float64" if current_context().device.capabilities.fp64 else "float32"
    if dtype not in STEPS:
        raise ValueError(f"gradcheck: dtype={dtype!r}; accepted: {', '.join(STEPS)}")
    hosts = [_host(x) for x in inputs]
    return [nd.array(x, dtype=dtype if dtypes.is_floating(x.dtype) else x.dtype) for x in hosts]


def _check(f, inputs: list[NDArray], eps, rtol, atol, what: str, directions: int | None) -> None:
    real = [i for i, x in enumerate(inputs) if _is_real(x)]
    dtype = np.dtype(inputs[real[0]].dtype).name
    eps = STEPS[dtype] if eps is None else eps
    rtol = GRADIENT_TOLERANCES[dtype] if rtol is None else rtol
    atol = GRADIENT_TOLERANCES[dtype] if atol is None else atol
    outputs = _evaluate(f, inputs)
    rng = np.random.default_rng(0)
    heads = [_weights(rng, y.shape) for y in outputs]
    _backward(outputs, heads)
    gradients = {i: _host(inputs[i].grad) for i in real}
    for i, gradient in gradients.items():
        if directions is None or gradient.size <= directions:
            numeric = _differences(f, inputs, i, heads, eps)
            _compare(gradient, numeric, rtol, atol, f"{what} of inputs[{i}]", "elements")
            continue
        x = _host(inputs[i]).astype(np.float64)
        steps = [eps * np.maximum(1.0, np.abs(x)) * _direction(rng, x.shape) for _ in range(directions)]
        changes = [_change(f, inputs, i, heads, step) for step in steps]
        slopes = np.array([change for change, _ in changes]) / (2 * eps)
        expected = np.array([np.sum(gradient * moved) for _, moved in changes]) / (2 * eps)
        size = max(1.0, float(np.abs(gradient).max())) * math.sqrt(
            gradient.size
        )  # what the sums are made of
        _compare(expected, slopes, rtol, atol * size, f"{what} of inputs[{i}]", "directions")


def _evaluate(f, inputs: Sequence[NDArray]) -> list[NDArray]:
    """The real outputs of f, recorded."""
    variables = [x for x in inputs if _is_real(x)]
    gradients = [nd.zeros(x.shape, x.context, x.dtype) for x in variables]
    autograd.mark_variables(variables, gradients)
    with autograd.record():
        return [y for y in _as_list(f(*inputs)) if _is_real(y)]


def _backward(outputs: Sequence[NDArray], heads: Sequence[np.ndarray]) -> None:
    """Backward from those outputs that are part of a graph; the others are constants."""
    pairs = [
        (y, nd.array(v, dtype=y.dtype, ctx=y.context))
        for y, v in zip(outputs, heads, strict=True)
        if _in_graph(y)
    ]
    if pairs:
        ys, vs = zip(*pairs, strict=True)
        autograd.backward(list(ys), list(vs))


def _differences(f, inputs: list[NDArray], position: int, heads, eps: float) -> np.ndarray:
    """Central differences of ``sum(heads * f)`` by each element of one input."""
    x = inputs[position].asnumpy()
    result = np.empty(x.shape)
    for place in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[place] = eps * max(1.0, abs(float(x[place])))
        change, moved = _change(f, inputs, position, heads, step)
        result[place] = change / moved[place]
    return result


def _change(f, inputs: list[NDArray], position: int, heads, step: np.ndarray) -> tuple[float, np.ndarray]:
    """How ``sum(heads * f)`` changes from a step back to a step on of an input; and the way between."""
    x = inputs[position].asnumpy()
    ends, outputs = [], []
    for sign in (1, -1):
        moved = (x + sign * step).astype(x.dtype)
        ends.append(moved.astype(np.float64))
        arrays = list(inputs)
        arrays[position] = nd.array(moved, dtype=x.dtype, ctx=inputs[position].context)
        outputs.append([y.asnumpy().astype(np.float64) for y in _evaluate(f, arrays)])
    change = sum(np.sum(v * (above - below)) for v, above, below in zip(heads, *outputs, strict=True))
    return float(change), ends[0] - ends[1]


def _direction(rng: "np.random.Generator", shape: tuple[int, ...]) -> np.ndarray:
    """Weights of either sign, none of them small."""
    return rng.choice((-1.0, 1.0), shape) * rng.uniform(0.5, 1.5, shape)


def _compare(
    gradient: np.ndarray, numeric: np.ndarray, rtol: float, atol: float, what: str, unit: str
) -> None:
    excess = np.abs(gradient - numeric) - (atol + rtol * np.abs(numeric))
    wrong = ~(excess <= 0)  # a NaN is wrong
    if not wrong.any():
        return
    place = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(excess, nan=np.inf), -1)), wrong.shape)
    raise AssertionError(
        f"{what}: {wrong.sum()} of {wrong.size} {unit} differ from finite differences; worst at "
        f"{tuple(int(n) for n in place)}: autograd gives {gradient[place]!s}, finite differences "
        f"{numeric[place]!s} (rtol={rtol:g}, atol={atol:g})"
    )


def _weights(rng: "np.random.Generator", shape: tuple[int, ...]) -> np.ndarray:
    """Head gradients: numbers of alternating sign, none of them small, exact in any dtype."""
    count = math.prod(shape)
    signs = np.where(np.arange(count) % 2, 1, -1)
    return (signs * rng.integers(32, 96, count) / 64).reshape(shape)


def _is_real(a: NDArray) -> bool:
    return dtypes.is_floating(np.dtype(a.dtype))


def _as_list(value) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]
