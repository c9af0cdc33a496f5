"""Loops and branches: what MXNet 1.9.1 returns, gradients through them, errors."""

import numpy as np
import pytest

import clgrad as mx
from clgrad import nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.test_utils import gradcheck, gradgradcheck

COVERS = {"contrib.foreach": (), "contrib.while_loop": (), "contrib.cond": ()}

foreach, while_loop, cond = nd.contrib.foreach, nd.contrib.while_loop, nd.contrib.cond


def rows() -> nd.NDArray:
    return nd.array(np.arange(6).reshape(3, 2))


def hosts(nest):
    """The same nest with numpy arrays, for comparing; lists and tuples stay what they are."""
    return nest.asnumpy().tolist() if isinstance(nest, nd.NDArray) else type(nest)(map(hosts, nest))


class TestForeach:
    def test_outputs_are_stacked_and_states_carried(self):
        outputs, state = foreach(lambda x, s: (x * 2, s + x), rows(), nd.zeros((2,)))
        assert hosts(outputs) == [[0, 2], [4, 6], [8, 10]]
        assert hosts(state) == [6, 9]

    def test_elements_of_a_vector_have_one_axis(self):
        outputs, states = foreach(lambda x, s: (x, s), nd.array([1, 2, 3]), [])
        assert hosts(outputs) == [[1], [2], [3]]
        assert states == []

    def test_nested_lists_and_tuples(self):
        def body(x, s):
            return (x, [x + 1]), (s[0] + 1, [s[1][0] + x])

        outputs, states = foreach(body, rows(), (nd.zeros((1,)), [nd.zeros((2,))]))
        assert hosts(outputs) == [[[0, 1], [2, 3], [4, 5]], [[[1, 2], [3, 4], [5, 6]]]]
        assert hosts(states) == ([3], [[6, 9]])

    @pytest.mark.parametrize("form", [list, tuple])
    def test_several_arrays_of_data(self, form):
        a = rows()
        outputs, state = foreach(lambda x, s: (x[0] + x[1], s + x[0]), form([a, a * 2]), nd.zeros((2,)))
        assert hosts(outputs) == [[0, 3], [6, 9], [12, 15]]
        assert hosts(state) == [6, 9]

    def test_nested_data(self):
        a = rows()
        outputs, _ = foreach(lambda x, s: (x[0] + x[1][0], s), [a, [a * 2]], [])
        assert hosts(outputs) == [[0, 3], [6, 9], [12, 15]]

    def test_no_outputs_and_no_elements(self):
        assert foreach(lambda x, s: ([], s), rows(), [])[0] == []
        outputs, state = foreach(lambda x, s: (x, s + 1), nd.zeros((0, 2)), nd.ones((1,)))
        assert outputs == []
        assert hosts(state) == [1]

    def test_gradients_to_second_order(self):
        def recurrence(x, h, w):
            outputs, last = foreach(lambda x, h: (h * w, nd.tanh(w * h + x)), x, h)
            return outputs * 2, last

        arrays = [np.linspace(-1, 1, 6).reshape(3, 2), np.array([0.3, -0.2]), np.array([0.7, 1.1])]
        gradcheck(recurrence, arrays)
        gradgradcheck(recurrence, arrays)

    @pytest.mark.parametrize("data", [[rows, lambda: nd.zeros((2, 2))], []])
    def test_sizes_must_agree(self, data):
        with pytest.raises(OperatorError, match=r"foreach: data is .* accepted: arrays of one size"):
            foreach(lambda x, s: (x[0], s), [make() for make in data], [])

    @pytest.mark.parametrize(
        ("body", "data", "states", "message"),
        [
            (lambda x, s: (x, s), lambda: 3, [], "data holds int"),
            (lambda x, s: (x, s), rows, 3, "init_states holds int"),
            (lambda x, s: (None, s), rows, [], "body's output holds NoneType"),
        ],
    )
    def test_only_arrays(self, body, data, states, message):
        with pytest.raises(OperatorTypeError, match=f"foreach: .*{message}"):
            foreach(body, data(), states)

    def test_each_step_puts_out_as_many(self):
        sizes = iter([1, 2, 3])
        with pytest.raises(OperatorError, match="2 arrays, after steps of 1"):
            foreach(lambda x, s: ([x] * next(sizes), s), rows(), [])


class TestWhileLoop:
    def count(self, func, variables=None, limit=5, until=3):
        variables = nd.zeros((1,)) if variables is None else variables
        return while_loop(lambda i, *rest: i < until, func, variables, max_iterations=limit)

    def test_padded_to_the_limit(self):
        outputs, last = self.count(lambda i: (i + 5, i + 1))
        assert hosts(outputs) == [[5], [6], [7], [0], [0]]
        assert hosts(last) == [3]

    @pytest.mark.parametrize("limit", [2, 3])
    def test_stops_at_the_limit(self, limit):
        outputs, (last,) = self.count(lambda i: (i, (i + 1,)), [nd.zeros((1,))], limit)
        assert hosts(outputs) == [[0], [1], [2]][:limit]
        assert hosts(last) == [limit]

    def test_nested_lists(self):
        i = nd.zeros((1,))
        outputs, variables = self.count(lambda i, s: ((i, [s[0]]), [i + 1, [s[0] + i]]), [i, [i]], 3)
        assert hosts(outputs) == [[[0], [1], [2]], [[[0], [0], [1]]]]
        assert hosts(variables) == [[3], [[3]]]

    def test_without_outputs_or_steps(self):
        assert self.count(lambda i: (None, i + 1))[0] == []
        outputs, last = self.count(lambda i: (i, i + 1), until=0)
        assert outputs == []
        assert hosts(last) == [0]
        assert self.count(lambda i: (i, i + 1), limit=0)[0] == []

    def test_a_condition_may_be_a_number(self):
        outputs, _ = while_loop(lambda i: True, lambda i: (i, i + 1), nd.zeros((1,)), max_iterations=2)
        assert hosts(outputs) == [[0], [1]]

    def test_the_dtype_of_padding_is_that_of_the_outputs(self):
        outputs, _ = self.count(lambda i: (i, i + 1), nd.zeros((1,), dtype="int64"))
        assert outputs.dtype is np.int64

    def test_gradients_to_second_order(self):
        def newton(a):  # square root: the number of steps depends on the values
            off = lambda x: nd.abs(x * x - a).sum() > 1e-3  # noqa: E731
            outputs, x = while_loop(
                off, lambda x: (x, (x + a / x) / 2), nd.ones_like(a) * a, max_iterations=9
            )
            return outputs, x

        gradcheck(newton, [np.array([2.0, 3.0])])
        gradgradcheck(newton, [np.array([2.0, 3.0])])

    @pytest.mark.parametrize(
        ("func", "variables", "limit", "message"),
        [
            (lambda i: (i, i + 1), None, None, "max_iterations is None; accepted: a number"),
            (lambda i: (i, i + 1), None, "a", "max_iterations is 'a'; accepted: a number"),
            (lambda i: (i, [i, i]), None, 4, "loop_vars is 2; accepted: 1 of them"),
            (lambda i: i, None, 4, r"func's result is NDArray; accepted: \(outputs, loop_vars\)"),
            (lambda: (0, 0), [], 4, r"loop_vars is \[\]; accepted: at least one"),
            (
                lambda i: ([i] * int(i.asscalar() + 1), i + 1),
                None,
                4,
                "body's output is 2 arrays, after steps of 1",
            ),
            (lambda i: (nd.ones((int(i.asscalar()) + 1,)), i + 1), None, 3, "concat"),
        ],
    )
    def test_errors(self, func, variables, limit, message):
        with pytest.raises(OperatorError, match=message):
            self.count(func, variables, limit)

    def test_a_condition_has_one_element(self):
        with pytest.raises(OperatorError, match=r"while_loop: cond's result is of shape \(2,\)"):
            while_loop(lambda i: nd.ones((2,)), lambda i: (i, i), nd.zeros((1,)), max_iterations=3)


class TestCond:
    @pytest.mark.parametrize(("pred", "chosen"), [(1, 0), (0, 1), (True, 0), (0.5, 0)])
    def test_one_branch_runs(self, pred, chosen):
        ran = []
        branches = [lambda: ran.append(0), lambda: ran.append(1)]
        cond(pred, *branches)
        cond(nd.array([pred]), *branches)
        assert ran == [chosen, chosen]

    def test_what_the_branch_returns_is_the_result(self):
        result = [nd.ones((1,)), [nd.ones((2,))]]
        assert cond(nd.zeros((1, 1)), lambda: None, lambda: result) is result

    def test_gradients_to_second_order(self):
        def abs_cube(x):
            return cond(x.sum() > 0, lambda: x * x * x, lambda: -x * x * x)

        for sign in (1, -1):
            gradcheck(abs_cube, [sign * np.array([1.0, 2.0])])
            gradgradcheck(abs_cube, [sign * np.array([1.0, 2.0])])

    def test_a_condition_has_one_element(self):
        with pytest.raises(OperatorError, match=r"cond: pred is of shape \(2,\); accepted: one element"):
            cond(nd.ones((2,)), list, list)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
def test_finite_or_not(dtype):
    """contrib has these for every dtype, and gives the answer in that dtype."""
    x = nd.array([1, -2, 0] if dtype == "int32" else [1, -np.inf, np.nan], dtype=dtype)
    whole = dtype == "int32"
    for name, expected in (("isnan", [0, 0, 1]), ("isinf", [0, 1, 0]), ("isfinite", [1, 0, 0])):
        result = getattr(mx.nd.contrib, name)(x)
        assert result.dtype == x.dtype
        assert result.asnumpy().tolist() == ([int(name == "isfinite")] * 3 if whole else expected)
