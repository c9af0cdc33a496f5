"""What tests of the autograd API share: variables, comparisons, another thread."""

import threading

import numpy as np

from clgrad import autograd, nd

RTOL = 2e-5


def array(values, dtype="float32"):
    return nd.array(np.asarray(values), dtype=dtype)


def variable(values, grad_req="write"):
    x = array(values)
    x.attach_grad(grad_req)
    return x


def assert_close(actual, expected, rtol=RTOL):
    np.testing.assert_allclose(actual.asnumpy(), expected, rtol=rtol, atol=1e-6)


def in_thread(function):
    """What the function returns in another thread; raises what it raises there."""
    outcome = []

    def target():
        try:
            outcome.append(("returned", function()))
        except BaseException as error:
            outcome.append(("raised", error))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    kind, value = outcome[0]
    if kind == "raised":
        raise value
    return value


def states():
    return autograd.is_recording(), autograd.is_training()


def logistic(x):
    return 1 / (1 + np.exp(-x))
