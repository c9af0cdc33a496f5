"""What no program should do: every op given wrong things, one at a time, in a call that is right otherwise.

The calls are the cases of tests/golden. Whatever is given, an op works or raises an error of clgrad that
names it; it never ends in an error of Python's from inside, and never crashes the device's driver.
"""

from collections.abc import Callable

import numpy as np
import pytest
from golden.ask import function_of
from golden.case import Case, mapped
from golden.recording import cases_of, families

import clgrad as mx
from clgrad import nd
from clgrad.device import Context, devices
from clgrad.errors import OperatorError
from clgrad.registry import table

pytestmark = pytest.mark.once

#: Values given for each argument; which ones differs from run to run.
TRIES = 4

ARRAYS: dict[str, Callable] = {
    "text": lambda: "x",
    "None": lambda: None,
    "list": lambda: [1.0, 2.0],
    "numpy": lambda: np.ones((2, 3)),
    "strided numpy": lambda: np.ones((4, 6)).T[::2],
    "object": object,
    "number": lambda: 3.5,
    "numpy's integer": lambda: np.int64(2),
    "no axes": lambda: nd.array(1.5).reshape(()),
    "size 0": lambda: nd.zeros((0, 3)),
    "size 1": lambda: nd.array([2.0]),
    "5 axes": lambda: nd.ones((2, 1, 3, 2, 1)),
    "int32": lambda: nd.ones((2, 3), dtype="int32"),
    "float16": lambda: nd.ones((2, 3), dtype="float16"),
    "arrays": lambda: [nd.array([1.0]), nd.array([2.0])],
    "the class": lambda: nd.NDArray,
}
VALUES: dict[str, Callable] = {
    "text": lambda: "x",
    "no text": lambda: "",
    "None": lambda: None,
    "()": tuple,
    "[]": list,
    "object": object,
    "dict": dict,
    "-1": lambda: -1,
    "-7": lambda: -7,
    "0": lambda: 0,
    "2**70": lambda: 2**70,
    "1.5": lambda: 1.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "True": lambda: True,
    "numpy's integer": lambda: np.int64(1),
    "numpy's float": lambda: np.float32(1),
    "7 numbers": lambda: (1, 2, 3, 4, 5, 6, 7),
    "(-1,)": lambda: (-1,),
    "(0, 0)": lambda: (0, 0),
    "(1.5,)": lambda: (1.5,),
    "(None,)": lambda: (None,),
    "('a',)": lambda: ("a",),
    "numpy array": lambda: np.array([1, 2]),
    "NDArray": lambda: nd.array([1.0, 2.0]),
    "function": lambda: max,
    "nested": lambda: ((1, 2), (3,)),
    "set": lambda: {1},
}
OUTS: dict[str, Callable] = {
    "shape": lambda: nd.ones((3, 5, 2)),
    "text": lambda: "x",
    "number": lambda: 3,
    "numpy": lambda: np.ones((2, 3), "float32"),
    "none of them": list,
    "too many": lambda: [nd.ones((2, 3))] * 9,
    "Nones": lambda: [None],
}


def cases() -> dict[str, Case]:
    """The case of each op with the most attributes, run in float32."""
    found: dict[str, Case] = {}
    for family in families():
        for case in cases_of(family):
            attributes = map(str, case.attributes.values())
            if case.error or "float32" not in case.run_dtypes() or "float64" in attributes:
                continue
            name = table[case.op].name if case.op in table else case.op
            if name not in found or len(case.attributes) > len(found[name].attributes):
                found[name] = case
    return found


CASES = cases()


def build(case: Case) -> tuple[list, dict]:
    args, attributes = case.draw("float32")

    def put(host):
        return nd.array(host, dtype=host.dtype if host.dtype.kind in "iub" else "float32")

    return [mapped(v, np.ndarray, put) for v in args], {
        key: mapped(v, np.ndarray, put) for key, v in attributes.items()
    }


def attempt(name: str, what: str, function: Callable, args, attributes) -> None:
    """Call; complain of an error that is not one of clgrad's, or does not name the op."""
    try:
        results = function(*args, **attributes)
    except mx.base.MXNetError as error:
        if plain(name.rpartition(".")[2]) not in plain(str(error)):
            pytest.fail(f"{name}, {what}: the message does not name the op: {error}")
    except Exception as error:
        pytest.fail(f"{name}, {what}: {type(error).__name__} from inside: {error}")
    else:
        for y in results if isinstance(results, list | tuple) else [results]:
            if isinstance(y, nd.NDArray):
                y.wait_to_read()


def plain(text: str) -> str:
    return text.lower().replace("_", "")


def is_array(value) -> bool:
    return isinstance(value, nd.NDArray) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], nd.NDArray)
    )


@pytest.mark.parametrize("name", CASES)
def test_wrong_arguments(name, rng):
    case = CASES[name]
    function = function_of(mx, case.op)
    args, attributes = build(case)
    op = table.get(case.op)
    others = [k for k in getattr(op, "attributes", ()) if k not in attributes]
    for slot in [*range(len(args)), *attributes, *others]:
        given = args[slot] if isinstance(slot, int) else attributes.get(slot)
        pool = ARRAYS if is_array(given) else VALUES
        for what in rng.choice(sorted(pool), TRIES, replace=False):
            a, k = build(case)
            if isinstance(slot, int):
                a[slot] = pool[what]()
            elif slot in others and len(a) > len(op.arguments):
                continue  # given by position
            else:
                k[slot] = pool[what]()
            attempt(name, f"{slot} = {what}", function, a, k)


@pytest.mark.parametrize("name", [n for n in CASES if "out" not in CASES[n].attributes])
def test_wrong_out(name):
    case = CASES[name]
    function = function_of(mx, case.op)
    for what, make in OUTS.items():
        args, attributes = build(case)
        attempt(name, f"out = {what}", function, args, {**attributes, "out": make()})


# Values that are spelled in other ways


def test_attributes_may_be_numpys_or_spelled_as_symbols_have_them():
    x = nd.array(np.arange(6).reshape(2, 3))
    expected = x.asnumpy().sum(axis=1)
    for axis in (1, np.int64(1), "1", (1,), [1], "(1,)", np.array([1])):
        np.testing.assert_array_equal(nd.sum(x, axis=axis).asnumpy(), expected)
    assert nd.sum(x, axis=1, keepdims="True").shape == nd.sum(x, axis=1, keepdims=1).shape == (2, 1)
    assert nd.reshape(x, shape="(3, -1)").shape == (3, 2)
    assert nd.slice(x, begin=(None, 1), end=[None, np.int32(2)]).shape == (2, 1)
    np.testing.assert_array_equal(nd.clip(x, "1", "2").asnumpy(), x.asnumpy().clip(1, 2))
    data, weight = nd.ones((1, 1, 5, 5)), nd.ones((1, 1, 3, 3))
    spelled = {"kernel": "(3, 3)", "num_filter": "1", "no_bias": "True", "stride": "(2, 2)"}
    assert nd.Convolution(data, weight, **spelled).shape == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nd.sum(x, axis=1.0),
            "sum: argument 'axis' is 1.0; accepted: int or tuple of int or None",
        ),
        (lambda x: nd.softmax(x, axis="x"), "softmax: argument 'axis' is 'x'; accepted: int"),
        (lambda x: x.reshape(object()), "reshape: argument 'shape' is object; accepted: size or tuple"),
        (lambda x: x.reshape(2, 3, shape=6), "reshape: argument 'shape' is given twice"),
        (lambda x: x.transpose(axis=1), "transpose: unknown argument 'axis'; accepted: data, axes"),
        (lambda x: nd.topk(x, k=2**40), "topk: argument 'k' is 1099511627776; accepted: int"),
        (lambda x: nd.sum(x, axis="-" * 10**5 + "1"), "sum: argument 'axis' is '------"),  # deeply nested
        (lambda x: nd.erf(2.0), "erf: argument 'data' is float; accepted: NDArray"),
        (
            lambda x: x + np.array([1j] * 3),
            "add: argument 'rhs' is a numpy array of complex128; accepted: real",
        ),
        (
            lambda x: x @ np.array(["a"] * 3),
            "matmul: argument 'rhs' is a numpy array of <U1; accepted: real",
        ),
        (lambda x: nd.array([1j]), "array: source_array is not a regular array of numbers (complex128)"),
        (lambda x: nd.contrib.cond(x[0, 0], 3, 4), "cond: then_func is int; accepted: a function"),
        (lambda x: nd.contrib.foreach(lambda a, s: 3, x, x), "foreach: body's result is int; accepted: ("),
        (lambda x: nd.stack(x, 3), "stack: argument 'data1' is int; accepted: NDArray"),
        (lambda x: nd.dot(x, "x"), "dot: argument 'rhs' is str; accepted: NDArray"),
        (lambda x: nd.add(x, x, out="x"), "add: argument 'out' is str; accepted: NDArray"),
        (lambda x: nd.add(x, x, out=[x, x]), "add: out has 2 arrays; accepted: 1"),
        (lambda x: nd.split(x, 3, out=[x]), "split: out has 1 arrays; accepted: 3"),
        (lambda x: x + 1j, "add: argument 'rhs' is complex"),
        (lambda x: nd.stack(x, x.astype("int32")), "stack: concat: data"),
        (lambda x: nd.zeros((2,), out=x), "zeros: out has shape (2, 3)"),
        (lambda x: nd.arange(0, float("inf")), "arange: start, stop, step is (0, inf, 1.0)"),
        (lambda x: nd.array([1], ctx="x"), "ctx is 'x'; accepted: a Context, such as cpu(0)"),
        (lambda x: nd.zeros((2,), ctx=3), "zeros: argument 'ctx' is 3; accepted: Context or None"),
        (lambda x: x.as_in_context("x"), "ctx is 'x'; accepted: a Context"),
        (lambda x: x.copyto("x"), "copyto: argument 'other' is str; accepted: NDArray or Context"),
        (lambda x: x.astype(x), "astype: dtype=NDArray is not a dtype; accepted: float16"),
        (lambda x: nd.random.uniform(0, 1, 1.5), "random.uniform: shape is 1.5; accepted: whole numbers"),
        (lambda x: nd.random.exponential(None), "random.exponential: lam is NoneType; accepted: NDArray"),
        (lambda x: nd.random.randint(float("nan"), 3), "random.randint: low is nan; accepted: a whole"),
        (lambda x: mx.random.seed("x"), "random.seed: seed_state is str; accepted: a whole number"),
        (lambda x: nd.SoftmaxActivation(x[0, 0].reshape(())), "SoftmaxActivation: data is of shape ()"),
        (lambda x: nd.zeros((2**40, 2**40)), "full: sizes or steps are beyond 64 bits"),
    ],
)
def test_messages(call, message):
    with pytest.raises(mx.base.MXNetError) as caught:
        call(nd.ones((2, 3)))
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 500


def test_sizes_beyond_64_bits():
    with pytest.raises(mx.base.MXNetError, match=r"maketrian: cannot allocate .*a size beyond 64 bits"):
        nd.linalg.maketrian(nd.ones((3,)), offset=-(2**31))


def test_scales_that_single_precision_does_not_hold():
    """They were spelled as no number of C."""
    x, regions = nd.ones((1, 1, 4, 4)), nd.array([[0, 0, 0, 2, 2]])
    y = nd.contrib.ROIAlign(x, regions, pooled_size=(1, 1), spatial_scale=1e300)
    assert np.isfinite(y.asnumpy()).all()


def test_contexts_may_be_spelled():
    here = mx.current_context()
    name = str(here)
    for made in (nd.zeros((2,), ctx=name), nd.random.uniform(shape=2, ctx=name), nd.array([1], name)):
        assert made.context == here


def test_numbers_alone_give_numbers():
    assert nd.hard_sigmoid(2.0, 0.1, 0.4) == pytest.approx(0.6)
    assert nd.smooth_l1(0.25, scalar=2.0) == pytest.approx(0.125)
    assert nd.onehot_encode(nd.array([1]), out=nd.zeros((1, 3))).asnumpy().tolist() == [[0, 1, 0]]


def test_out_on_another_device_is_refused():
    here = mx.current_context()
    other = next((c for d in devices() if (c := Context(d.kind, d.index)) != here), None)
    if other is None:
        pytest.skip("one device")
    x, far = nd.ones((2, 3)), nd.ones((2, 3), ctx=other)
    for call in (
        lambda: nd.add(x, x, out=far),
        lambda: nd.reshape(x, shape=(2, 3), out=far),
        lambda: nd.swapaxes(x, 0, 0, out=far),
        lambda: nd.sgd_update(x, x, lr=0.1, out=far),
        lambda: nd.onehot_encode(nd.array([1, 2]), far),
    ):
        with pytest.raises(OperatorError, match=r"out is on .*; accepted: .*, the device of the arguments"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: mx.autograd.backward("x"),
        lambda x: mx.autograd.backward(None),
        lambda x: mx.autograd.backward([x], [1]),
        lambda x: mx.autograd.backward([x], [x, x]),
        lambda x: x.backward(np.ones(3)),
        lambda x: mx.autograd.grad(None, x),
        lambda x: mx.autograd.grad(x, "x"),
        lambda x: mx.autograd.mark_variables([x], [1]),
        lambda x: mx.autograd.mark_variables(["x"], [x]),
        lambda x: mx.autograd.get_symbol(3),
        lambda x: x.attach_grad(3),
        lambda x: x.attach_grad(stype="csr"),
    ],
)
def test_autograd_refuses_what_is_no_array(call):
    x = nd.ones((3,))
    x.attach_grad()
    with pytest.raises(mx.base.MXNetError):
        call(x)
