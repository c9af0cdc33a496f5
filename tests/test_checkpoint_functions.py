"""Functions that checkpoints call again: what they find then, and what is refused."""

from functools import partial

import numpy as np
import pytest
from checkpoint_harness import checkpoint, marked, plain, same

import clgrad as mx
from clgrad import tape
from clgrad.errors import AutogradError, OperatorTypeError

pytestmark = pytest.mark.once  # what is called again, and with what; kernels have tests of their own

_factor = 2


class TestWhatTheFunctionFinds:
    def test_random_numbers_of_its_own(self):
        """Draws of the program between forward and backward neither change nor repeat."""
        x = marked(np.ones(1000))
        mx.random.seed(3)
        with mx.autograd.record():
            y = checkpoint(lambda a: mx.nd.Dropout(a, 0.5), x)
        between = mx.nd.random.uniform(shape=(5,)).asnumpy()
        y.backward()
        after = mx.nd.random.uniform(shape=(5,)).asnumpy()
        same(x.grad, y)
        mx.random.seed(3)
        mx.nd.Dropout(x, 0.5, mode="always")
        np.testing.assert_array_equal(between, mx.nd.random.uniform(shape=(5,)).asnumpy())
        np.testing.assert_array_equal(after, mx.nd.random.uniform(shape=(5,)).asnumpy())

    def test_a_seed_of_its_own(self):
        def function(a):
            mx.random.seed(11)
            return a * mx.nd.random.uniform(shape=(3,))

        x = marked(np.ones(3))
        with mx.autograd.record():
            y = checkpoint(function, x)
        drawn = mx.nd.random.uniform(shape=(3,)).asnumpy()
        y.backward()
        same(x.grad, y)
        assert not (drawn == mx.nd.random.uniform(shape=(3,)).asnumpy()).any(), "backward has set the seed"

    @pytest.mark.parametrize("train_mode", [True, False])
    def test_the_mode_of_the_forward_pass(self, train_mode):
        x = marked(np.ones(1000))
        seen = []

        def function(a):
            seen.append((mx.autograd.is_training(), mx.autograd.is_recording()))
            return mx.nd.Dropout(a, 0.5)

        with mx.autograd.record(train_mode=train_mode):
            y = checkpoint(function, x)
        y.backward(train_mode=not train_mode)
        assert seen == [(train_mode, True)] * 2
        same(x.grad, y)
        assert not mx.autograd.is_recording()

    def test_moving_averages_take_one_step(self):
        """BatchNorm writes to them in the forward pass; other calls of it may come before backward."""

        def gradients(wrap):
            x, gamma, beta = marked(np.arange(12).reshape(4, 3)), marked(np.ones(3)), marked(np.zeros(3))
            mean, var = mx.nd.zeros((3,)), mx.nd.ones((3,))

            def function(a):
                return mx.nd.BatchNorm(a, gamma, beta, mean, var, fix_gamma=False, momentum=0.5) ** 2

            with mx.autograd.record():
                y, z = wrap(function, x), wrap(function, x + 1)
                versions = mean._view.storage.version, var._view.storage.version
            mx.autograd.backward([y, z])
            assert versions == (mean._view.storage.version, var._view.storage.version)
            return [mean, var, x.grad, gamma.grad, beta.grad]

        for value, wanted in zip(gradients(checkpoint), gradients(plain), strict=True):
            np.testing.assert_allclose(value.asnumpy(), wanted.asnumpy(), 1e-5, 1e-6)

    def test_state_that_it_reads_and_writes(self):
        """Called again, it must read what it read, though it has written there since."""
        x, state = marked([1, 2]), mx.nd.array([3, 4])

        def function(a):
            with mx.autograd.pause():
                before = state.copy()
                state[:] = state * 10
            return a * before

        with mx.autograd.record():
            y = checkpoint(function, x) + checkpoint(function, x)
        y.backward()
        np.testing.assert_array_equal(x.grad.asnumpy(), [33, 44])
        np.testing.assert_array_equal(state.asnumpy(), [300, 400])

    def test_parameters_that_its_first_run_initialises(self):
        """They draw numbers once only, and are as much parameters as others."""

        def train(wrap):
            net = mx.gluon.nn.HybridSequential()
            net.add(
                mx.gluon.nn.Dense(4),
                mx.gluon.nn.BatchNorm(),
                mx.gluon.nn.Dropout(0.5),
                mx.gluon.nn.Dense(2),
            )
            mx.random.seed(5)
            net.initialize()
            x = marked(np.arange(6).reshape(2, 3))
            for _ in range(2):
                with mx.autograd.record():
                    y = wrap(net, x)
                y.backward()
            parameters = net.collect_params().values()
            return [
                x.grad,
                *[p.grad() for p in parameters if p.grad_req != "null"],
                *[p.data() for p in parameters],
            ]

        for value, wanted in zip(train(checkpoint), train(plain), strict=True):
            np.testing.assert_allclose(value.asnumpy(), wanted.asnumpy(), 1e-5, 1e-6)

    def test_names_as_they_were(self):
        """A loop's variable, a name bound anew, a global: all are bound to something else by backward."""
        x, w, count = marked([1, 2]), marked([3, 4]), 0
        first = w

        def counted(a):
            nonlocal count
            count += 1
            return a * _factor

        with mx.autograd.record():
            y = x
            for i in range(1, 4):
                y = checkpoint(lambda a: a * i * w, y)  # noqa: B023
                y = checkpoint(partial(counted), y)
            w = marked([7, 7])
        try:
            globals()["_factor"] = 100
            y.backward()
            assert _factor == 100
        finally:
            globals()["_factor"] = 2
        assert count == 3
        np.testing.assert_array_equal(x.grad.asnumpy(), [6 * 8 * 27, 6 * 8 * 64])
        np.testing.assert_array_equal(first.grad.asnumpy(), [6 * 8 * 27, 2 * 6 * 8 * 48])
        np.testing.assert_array_equal(w.grad.asnumpy(), [0, 0])

    def test_names_that_are_gone(self):
        x, w = marked([1, 2]), marked([3, 4])
        with mx.autograd.record():
            y = checkpoint(lambda a: a * w, x)  # noqa: F821
        grad = w.grad
        del w
        y.backward()
        np.testing.assert_array_equal(grad.asnumpy(), [1, 2])


class TestRefusals:
    def test_what_cannot_be_called(self):
        with pytest.raises(OperatorTypeError, match="checkpoint: function is NDArray float32"):
            checkpoint(marked([1, 2]), mx.nd.exp)

    @pytest.mark.parametrize("name", ["a closed-over array", r"args\[0\]", "shift"])
    def test_arrays_written_since(self, name):
        """Also of what no gradient rule reads, since the function is called again."""
        x, b, c = marked([1, 2]), mx.nd.array([1, 2]), mx.nd.array([1, 2])
        with mx.autograd.record():
            y = checkpoint(lambda a, shift: mx.nd.exp(a + b + shift), x, shift=c)
        {"a closed-over array": b, "shift": c}.get(name, x)[:] = 7
        with pytest.raises(
            AutogradError, match=rf"<lambda>: the array '{name}' of shape \(2,\) was written"
        ):
            y.backward()

    @pytest.mark.parametrize("marked_again", [True, False])
    def test_lists_of_other_arrays(self, marked_again):
        x, w = marked([1, 2]), [marked([3, 4])]
        with mx.autograd.record():
            y = checkpoint(lambda a: a * w[0], x)
        w[0] = marked([5, 6]) if marked_again else mx.nd.array([5, 6])
        with pytest.raises(AutogradError, match=r"checkpoint of <lambda>: .*reads another array"):
            y.backward()

    def test_a_variable_marked_again_keeps_its_old_gradient(self):
        """As without a checkpoint."""
        x, w = marked([1, 2]), marked([3, 4])
        with mx.autograd.record():
            y = checkpoint(lambda a: a * w, x)
        old = w.grad
        w.attach_grad()
        y.backward()
        np.testing.assert_array_equal(old.asnumpy(), [1, 2])
        np.testing.assert_array_equal(w.grad.asnumpy(), [0, 0])

    def test_a_variable_that_is_none_any_more(self):
        x, w = marked([1, 2]), marked([3, 4])
        with mx.autograd.record():
            y = checkpoint(lambda a: a * w, x)
        w._entry = None
        with pytest.raises(AutogradError, match="does not depend on an array"):
            y.backward()

    @pytest.mark.parametrize(
        ("first", "then", "message"),
        [
            (lambda a: mx.nd.Dropout(a, 0.5), lambda a: a * 1, "fewer random numbers"),
            (lambda a: a * 1, lambda a: mx.nd.Dropout(a, 0.5), "more random numbers"),
            (lambda a: a * 1, lambda a: a.reshape((1, 2)), "returns other arrays"),
            (lambda a: a * 1, lambda a: [a * 1, a * 2], "returns other arrays"),
            (lambda a: a * 1, lambda a: mx.nd.ones((2,)), "returns other arrays"),
        ],
    )
    def test_functions_that_do_something_else(self, first, then, message):
        x = marked([1, 2])
        functions = iter([first, then])
        with mx.autograd.record():
            y = checkpoint(lambda a: next(functions)(a), x)
        with pytest.raises(AutogradError, match=message):
            y.backward()
        assert tape.state.watcher is None

    def test_exceptions_leave_nothing_behind(self):
        x, state = marked([1, 2]), mx.nd.array([3, 4])
        fails = iter([False, True, True])

        def function(a):
            with mx.autograd.pause():
                state[:] = state + 1
            mx.nd.random.uniform(shape=(1,))
            if next(fails):
                raise KeyError("fails")
            return a * 2

        with mx.autograd.record():
            y = checkpoint(function, x)
            with pytest.raises(KeyError):
                checkpoint(function, x)
        with pytest.raises(KeyError):
            y.backward()
        np.testing.assert_array_equal(state.asnumpy(), [5, 6])
        assert tape.state.watcher is None
        assert not mx.autograd.is_recording()
        mx.nd.random.uniform(shape=(1,))
