"""Parameters: initialisation, gradients, devices, constants, sharing by name, as in MXNet."""

import numpy as np
import pytest
from gluon_harness import parameter, small_net, two_contexts

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError


@pytest.mark.once
def test_names_do_not_choose_what_parameters_are_filled_with():
    """Gluon hands the initializer over as the parameter's own, so that a bias without one is no 0."""
    params = mx.gluon.ParameterDict("p_")
    for name in ("weight", "bias", "running_var", "w"):
        params.get(name, shape=(2,))
    params.get("own", shape=(2,), init="ones")
    params.initialize(mx.init.Constant(5))
    assert [p.data().asnumpy()[0] for p in params.values()] == [5, 5, 5, 5, 1]
    with pytest.raises(MXNetError, match="Xavier: the weight is 'p_bias' of shape"):
        params["p_bias"].initialize(mx.init.Xavier(), force_reinit=True)
    params["p_bias"].initialize(mx.init.Mixed([".*bias", ".*"], ["ones", "zeros"]), force_reinit=True)
    assert params["p_bias"].data().asnumpy().tolist() == [1, 1]
    load = mx.init.Load({"p_weight": mx.nd.array([3, 4])}, default_init=mx.init.Constant(6))
    params.initialize(load, force_reinit=True)
    assert [p.data().asnumpy().tolist() for p in list(params.values())[:2]] == [[3, 4], [6, 6]]


def test_gradients_as_grad_req_says():
    weight = parameter()
    for request, expected in [("write", 5), ("add", 5), ("add", 10), ("write", 5)]:
        if weight.grad_req != request:
            weight.grad_req = request
        with autograd.record():
            y = (weight.data() * 5).sum()
        y.backward()
        assert (weight.grad().asnumpy() == expected).all()
    weight.zero_grad()
    assert not weight.grad().asnumpy().any()
    weight.grad_req = "null"
    with pytest.raises(MXNetError, match="no gradient, because its grad_req is 'null'"):
        weight.grad()
    with autograd.record():
        y = (weight.data() * 5).sum()
    assert y._entry is None


def test_gradient_is_seen_through_the_array_that_grad_gave():
    weight = parameter()
    gradient = weight.grad()
    with autograd.record():
        y = (weight.data() * 3).sum()
    y.backward()
    assert (gradient.asnumpy() == 3).all()


def test_values_are_set_and_cast():
    weight = parameter()
    array = weight.data()
    weight.set_data(np.arange(6).reshape(2, 3))
    assert array.asnumpy().ravel().tolist() == [0, 1, 2, 3, 4, 5]
    weight.cast("float16")
    assert weight.dtype == np.float16 == weight.data().dtype == weight.grad().dtype
    with autograd.record():
        y = (weight.data() * 2).sum()
    y.backward()
    assert (weight.grad().asnumpy() == 2).all()
    weight.dtype = "float32"
    assert weight.data().asnumpy().ravel().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.once
def test_bad_arguments_of_parameters_change_nothing():
    weight = parameter()
    for wrong in (np.ones((3, 2)), nd.ones((2, 3, 1))):
        with pytest.raises(OperatorError, match=r"Parameter weight: shape is .*accepted: \(2, 3\)"):
            weight.set_data(wrong)
    with pytest.raises(OperatorError, match="grad_req is 'sum'; accepted: write, add, null"):
        weight.grad_req = "sum"
    with pytest.raises(OperatorTypeError, match="Parameter weight: dtype='float7'"):
        weight.cast("float7")
    with pytest.raises(OperatorError, match="different ones"):
        weight.reset_ctx([mx.cpu(), mx.cpu()])
    assert (weight.data().asnumpy() == 1).all()
    assert (weight.shape, weight.dtype, weight.grad_req) == ((2, 3), np.float32, "write")
    with pytest.warns(UserWarning, match="already initialised"):
        weight.initialize(mx.init.Zero())
    assert (weight.data().asnumpy() == 1).all()
    weight.initialize(mx.init.Zero(), force_reinit=True)
    assert not weight.data().asnumpy().any()


@pytest.mark.once
def test_an_initialiser_that_fails_changes_nothing():
    class Broken(mx.init.Initializer):
        def _init_weight(self, name, arr):
            arr[:] = 3
            raise ZeroDivisionError

    weight = parameter()
    array = weight.data()
    for wrong, error in ((Broken(), ZeroDivisionError), ("unheard of", MXNetError)):
        with pytest.raises(error):
            weight.initialize(wrong, force_reinit=True)
    assert weight.data() is array
    assert (array.asnumpy() == 1).all()
    fresh = gluon.Parameter("weight", shape=(2, 3))
    with pytest.raises(ZeroDivisionError):
        fresh.initialize(Broken())
    with pytest.raises(OperatorError, match="is not initialised"):
        fresh.data()


@pytest.mark.once
def test_arguments_that_no_parameter_has():
    with pytest.raises(AbsentError, match="stype is 'row_sparse'"):
        gluon.Parameter("weight", stype="row_sparse")
    with pytest.raises(OperatorError, match="shape is"):
        gluon.Parameter("weight", shape=(2, -3))
    with pytest.raises(OperatorError, match="grad_stype is 'coo'"):
        gluon.Parameter("weight", grad_stype="coo")
    with pytest.raises(OperatorError, match=r"its shape is \(2, 0\); give all sizes"):
        gluon.Parameter("weight", shape=(2, 0)).initialize()
    with pytest.raises(OperatorError, match="is not initialised"):
        gluon.Parameter("weight", shape=(2, 3)).data()


@pytest.mark.once
def test_deferred_initialisation():
    weight = gluon.Parameter("weight", shape=(2, 0), allow_deferred_init=True)
    weight.initialize(mx.init.One())
    with pytest.raises(gluon.DeferredInitializationError, match="until the first forward pass"):
        weight.data()
    assert weight.list_ctx() == [mx.current_context()]
    weight.set_data(nd.full((2, 5), 7))
    weight._finish_deferred_init()
    assert (weight.data().asnumpy() == 7).all()


def test_copies_on_two_contexts():
    first, second = two_contexts()
    weight = gluon.Parameter("weight", shape=(2, 3))
    weight.initialize(mx.init.Uniform(1), ctx=[first, second])
    assert weight.list_ctx() == [first, second]
    a, b = weight.list_data()
    assert (a.context, b.context) == (first, second)
    np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
    with autograd.record():
        losses = [(weight.data(c) * (i + 1)).sum() for i, c in enumerate((first, second))]
    autograd.backward(losses)
    assert [g.asnumpy()[0, 0] for g in weight.list_grad()] == [1, 2]
    b[:] = a.asnumpy() + 2
    weight.reset_ctx(second)
    np.testing.assert_allclose(weight.data().asnumpy(), a.asnumpy() + 1, rtol=1e-6)
    with pytest.raises(OperatorError, match=rf"is not on {first}".replace("(", r"\(").replace(")", r"\)")):
        weight.data(first)


def test_net_runs_where_its_input_is():
    first, second = two_contexts()
    net = small_net()
    net.initialize(ctx=[first, second])
    x = np.ones((4, 3), np.float32)
    results = [net(nd.array(x, ctx=c)) for c in (first, second)]
    assert [r.context for r in results] == [first, second]
    np.testing.assert_allclose(results[0].asnumpy(), results[1].asnumpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.once
def test_constants():
    params = gluon.ParameterDict("net_")
    constant = params.get_constant("table", [[1, 2], [3, 4]])
    constant.initialize()
    assert constant.data().asnumpy().tolist() == [[1, 2], [3, 4]]
    assert params.get_constant("table", np.array([[1, 2], [3, 4]])) is constant
    with pytest.warns(UserWarning, match="is ignored"):
        constant.grad_req = "write"
    assert constant.grad_req == "null"
    with pytest.raises(OperatorError, match="with another value"):
        params.get_constant("table", [[1, 2], [3, 5]])
    with pytest.raises(OperatorError, match="or a value as well"):
        params.get_constant("other")
    params.get("weight", shape=(1,))
    with pytest.raises(OperatorError, match="no constant"):
        params.get_constant("weight", [1])
    assert repr(constant) == "Constant net_table (shape=(2, 2), dtype=float32)"


@pytest.mark.once
def test_a_parameter_that_is_asked_for_again():
    params = gluon.ParameterDict("net_")
    weight = params.get("weight", shape=(2, 0), allow_deferred_init=True)
    assert params.get("weight", shape=(0, 3), allow_deferred_init=True) is weight
    assert weight.shape == (2, 3)
    assert params.get("weight", init="zeros") is weight
    for wrong in ({"shape": (2, 4)}, {"dtype": "float16"}, {"init": "ones"}, {"grad_req": "add"}):
        with pytest.raises(OperatorError, match=r"as it has it|shape"):
            params.get("weight", **wrong)
    with pytest.raises(OperatorError, match="those of Parameter"):
        params.get("weight", colour="red")
    other = gluon.ParameterDict()
    other.get("net_weight", shape=(2, 3))
    with pytest.raises(OperatorError, match="two different parameters are named net_weight"):
        params.update(other)
