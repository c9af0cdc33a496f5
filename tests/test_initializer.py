"""First values of parameters, against those of MXNet."""

import logging

import numpy as np
import pytest
from golden.training import initializers, recorded

import clgrad as mx
from clgrad import nd
from clgrad.errors import AbsentError, OperatorError, OperatorTypeError

#: Made of ops that are tested on every device.
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def answers(request):
    mx.random.seed(request.config.option.seed)
    return initializers.answers(mx), recorded("initializers")


@pytest.mark.parametrize("i", range(len(initializers.RANDOM)), ids=lambda i: initializers.RANDOM[i][0])
def test_random_weights_in_distribution(i, answers):
    """Deciles of 32,768 numbers, but for the extrema, which MXNet's own seeds change as much."""
    ours, theirs = (a[f"random{i}.deciles"][1:-1] for a in answers)
    assert np.abs(ours - theirs).max() < 0.05 * theirs.max()
    assert (
        np.abs(answers[0][f"random{i}.deciles"]).max() < 2 * np.abs(answers[1][f"random{i}.deciles"]).max()
    )


def test_weights_that_are_not_random(answers):
    ours, theirs = answers
    assert ours.keys() == theirs.keys()
    for key in ours.keys() - {f"random{i}.deciles" for i in range(len(initializers.RANDOM))}:
        np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (1, 7), (6, 2, 3)])
def test_orthogonal_weights(shape):
    weight = nd.zeros(shape)
    mx.init.Orthogonal(2.0)("weight", weight)
    matrix = weight.asnumpy().reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    mx.init.Orthogonal()("weight", nd.zeros((0, 3)))


def test_orthogonal_matrices_are_equally_likely():
    """Rotations of the plane by any angle, and reflections as often: no sign is preferred."""
    matrices = np.array([_orthogonal() for _ in range(300)])
    assert np.abs(matrices.mean(0)).max() < 0.2
    assert 100 < (np.linalg.det(matrices) > 0).sum() < 200


def _orthogonal() -> np.ndarray:
    weight = nd.zeros((2, 2))
    mx.init.Orthogonal(1.0, "normal")("weight", weight)
    return weight.asnumpy()


@pytest.mark.parametrize("init", ["uniform", "xavier", "orthogonal", "bilinear", "lstmbias", "ones"])
def test_dtype_and_memory_are_kept(init):
    weight = nd.zeros((4, 2, 4, 4), dtype="float16")
    handle = weight.handle
    mx.init.create(init)(mx.init.InitDesc("weight"), weight)
    assert weight.dtype is np.float16
    assert weight.handle == handle
    assert np.abs(weight.asnumpy()).sum() > 0


def test_a_seed_gives_the_same_weights():
    weights = []
    for _ in "ab":
        mx.random.seed(3)
        weights.append(nd.zeros((5, 5)))
        mx.init.Xavier()("weight", weights[-1])
    np.testing.assert_array_equal(weights[0].asnumpy(), weights[1].asnumpy())


def filled(init, name, shape=(3,)) -> list:
    array = nd.full(shape, 7)
    init(name, array)
    return array.asnumpy().tolist()


def test_names_and_initializers_of_their_own():
    init, desc = mx.init.One(), mx.init.InitDesc
    assert filled(init, "bn_moving_mean") == filled(init, "bn_running_mean") == [0] * 3
    assert filled(init, "bn_moving_var") == filled(init, "bn_running_var") == [1] * 3
    assert filled(init, "stn_loc_bias", (6,)) == [1, 0, 0, 0, 1, 0]
    assert filled(init, "stn_loc_weight") == [0] * 3
    bilinear = filled(mx.init.Bilinear(), "weight", (1, 1, 4, 4))
    assert filled(init, "upsampling_weight", (1, 1, 4, 4)) == bilinear
    for own in (mx.init.Constant(5), '["constant", {"value": 5}]'):
        assert filled(init, desc("any_bias", {"__init__": own})) == [5] * 3
    assert filled(init, desc("any_bias", {"__init__": ""})) == [0] * 3
    name = desc("a_weight")
    filled(init, name)
    assert name.global_init is init
    with pytest.raises(OperatorError, match="the parameter's name is 'alpha'; accepted: names that end"):
        filled(init, desc("alpha"))
    with pytest.raises(AbsentError, match="Initializer has no method _init_weight"):
        filled(mx.init.Initializer(), desc("a_weight"))


def test_mixed_and_load(tmp_path):
    mixed = mx.init.Mixed(["bias", ".*conv", ".*"], ["ones", mx.init.Constant(2), mx.init.Zero()])
    found = [filled(mixed, mx.init.InitDesc(n)) for n in ("bias_weight", "a_conv_weight", "a_weight")]
    assert found == [[1] * 3, [2] * 3, [0] * 3]
    with pytest.raises(OperatorError, match="Mixed: the parameter's name is 'a_weight'"):
        filled(mx.init.Mixed(["b"], ["ones"]), "a_weight")
    with pytest.raises(OperatorError, match="2 patterns for 1 initializers"):
        mx.init.Mixed(["a", "b"], ["ones"])
    net = mx.gluon.nn.Dense(2, in_units=1)
    net.initialize(mx.init.Mixed([".*bias", ".*"], ["zeros", mx.init.Constant(2)]))
    assert net.weight.data().asnumpy().tolist() == [[2], [2]]
    nd.save(tmp_path / "net.params", {"arg:a_weight": nd.array([1, 2, 3]), "aux:mean": nd.ones((2,))})
    load = mx.init.Load(tmp_path / "net.params", default_init=mx.init.Constant(4))
    assert [filled(load, n) for n in ("a_weight", "b_weight")] == [[1, 2, 3], [4] * 3]
    with pytest.raises(OperatorError, match=r"the loaded 'mean' is of shape \(2,\); accepted: \(3,\)"):
        filled(load, "mean")
    with pytest.raises(OperatorError, match="Load: the parameter's name is 'b'"):
        filled(mx.init.Load({"a": nd.ones((3,))}), "b")
    with pytest.raises(OperatorError, match="Load: param is list"):
        mx.init.Load([])


def test_making_by_name():
    xavier = mx.init.create("Xavier", magnitude=2)
    assert mx.init.create(xavier) is xavier
    again = mx.init.create(xavier.dumps())
    assert again == xavier != mx.init.Xavier()
    assert again.magnitude == 2
    assert mx.init.create({"initializer": "zeros"}) == mx.init.Zero()
    constant = mx.init.Constant(nd.array([1, 2]))
    assert filled(mx.init.create(constant.dumps()), "weight", (3, 2)) == [[1, 2]] * 3
    for given, message in (
        ("savier", "create: initializer is 'savier'; accepted: bilinear, constant"),
        ("[", "is '\\[' .*; accepted: a name, or JSON"),
    ):
        with pytest.raises(OperatorError, match=message):
            mx.init.create(given)
    for given, arguments in ((3, {}), ("[1, 2]", {}), (xavier, {"magnitude": 3})):
        with pytest.raises(OperatorTypeError, match="create: "):
            mx.init.create(given, **arguments)


def test_registering():
    @mx.init.register
    @mx.init.alias("of_three", "three")
    class Threes(mx.init.Initializer):
        def _init_weight(self, name, arr):
            arr[:] = 3

    assert all(filled(mx.init.create(n), "weight") == [3] * 3 for n in ("threes", "three", "OF_THREE"))
    with pytest.warns(UserWarning, match="initializer 'threes' was"):
        mx.init.register(type("Threes", (Threes,), {}))
    with pytest.raises(OperatorTypeError, match=r"register: klass is .*; accepted: a subclass of Init"):
        mx.init.register(int)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: filled(mx.init.Xavier(), "a_weight"), r"Xavier: the weight is 'a_weight' of shape \(3,\)"),
        (lambda: mx.init.Xavier(factor_type="sum"), "Xavier: factor_type is 'sum'"),
        (lambda: mx.init.Xavier("gauss"), "Xavier: rnd_type is 'gauss'"),
        (lambda: mx.init.Orthogonal(1, "gauss"), "Orthogonal: rand_type is 'gauss'"),
        (lambda: filled(mx.init.Bilinear(), "weight"), "Bilinear: the weight"),
        (lambda: filled(mx.init.LSTMBias(), "weight"), "LSTMBias: the bias"),
        (lambda: mx.init.FusedRNN("ones", 1, 1, "elman"), "FusedRNN: mode is 'elman'"),
        (lambda: filled(mx.init.FusedRNN("ones", 3, 1, "lstm"), "weight"), "FusedRNN: the parameters"),
    ],
)
def test_errors(make, message):
    with pytest.raises(OperatorError, match=message):
        make()


def test_verbose(caplog):
    init = mx.init.One().set_verbosity(True)
    with caplog.at_level(logging.INFO):
        filled(init, "a_weight", (4,))
    assert caplog.messages == ["Initialized a_weight as One: 1.0"]
