"""Layers against those of MXNet: text, parameters, results and gradients; and what MXNet cannot show."""

import numpy as np
import pytest
from golden.training import layers, recorded
from helpers import close

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import MXNetError, OperatorError
from clgrad.gluon import nn


@pytest.fixture(scope="module")
def answers():
    return layers.answers(mx), recorded("layers")


@pytest.mark.once  # their ops are held on every device by other tests
@pytest.mark.parametrize("case", range(len(layers.CASES)), ids=layers.label)
def test_layer_is_that_of_mxnet(case, answers):
    prefix = f"{layers.label(case)}."
    ours, theirs = ({k: v for k, v in found.items() if k.startswith(prefix)} for found in answers)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if key.endswith("texts"):
            assert ours[key].tolist() == value.tolist()
        else:
            np.testing.assert_allclose(ours[key], value, rtol=1e-5, atol=3e-6, err_msg=key)


@pytest.mark.once
def test_arguments_are_those_of_mxnet(answers):
    ours, theirs = (found["signatures"].tolist() for found in answers)
    assert ours == theirs


def test_dropout_drops_in_training_only():
    layer, x = nn.Dropout(0.25, axes=(1,)), nd.ones((400, 5))
    assert (layer(x).asnumpy() == 1).all()
    with autograd.train_mode():
        y = layer(x).asnumpy()
    assert (y == y[:, :1]).all()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert 0.6 < (y[:, 0] > 0).mean() < 0.9


def test_running_statistics_over_several_batches(rng):
    layer = nn.BatchNorm(momentum=0.8)
    layer.initialize()
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = rng.normal(2, 3, (16, 3, 5)).astype(np.float32)
        with autograd.record():
            layer(nd.array(x))
        mean = 0.8 * mean + 0.2 * x.mean(axis=(0, 2))
        var = 0.8 * var + 0.2 * x.var(axis=(0, 2))
    layer(nd.array(x))  # prediction changes nothing
    close(layer.running_mean.data(), mean, 1e-5)
    close(layer.running_var.data(), var, 1e-5)


@pytest.mark.once
def test_batch_norm_with_relu_and_over_devices(rng):
    x = rng.standard_normal((4, 3, 5)).astype(np.float32)
    results = []
    for layer in (nn.BatchNorm(), nn.BatchNormReLU(), mx.gluon.contrib.nn.SyncBatchNorm(num_devices=2)):
        layer.initialize()
        with autograd.record():
            results.append(layer(nd.array(x)).asnumpy())
    plain, cut, synchronised = results
    np.testing.assert_array_equal(cut, np.maximum(plain, 0))
    np.testing.assert_array_equal(synchronised, plain)


@pytest.mark.once
def test_half_precision_leaves_batch_norm_alone():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Dense(2))
    net.cast("float16")
    net.initialize()
    y = net(nd.ones((2, 3, 6, 6), dtype="float16"))
    assert y.dtype == np.float16
    dtypes = [np.dtype(p.dtype).name for p in net.collect_params().values()]
    assert dtypes == ["float16"] * 2 + ["float32"] * 4 + ["float16"] * 2


#: Layers, and the layout with the channels last.
WINDOWS = [
    (nn.Conv1D, {"kernel_size": 3, "strides": 2, "padding": 1}, "NWC"),
    (nn.Conv2D, {"kernel_size": (3, 2), "dilation": (2, 1), "groups": 2, "activation": "tanh"}, "NHWC"),
    (nn.Conv2D, {"kernel_size": 1}, "NHWC"),  # which is one product
    (nn.Conv2D, {"kernel_size": 1, "strides": 2, "use_bias": False}, "NHWC"),
    (nn.Conv3D, {"kernel_size": 2}, "NDHWC"),
    (nn.Conv1DTranspose, {"kernel_size": 3, "strides": 2, "output_padding": 1}, "NWC"),
    (nn.Conv2DTranspose, {"kernel_size": (4, 3), "strides": (2, 1), "padding": 1, "groups": 2}, "NHWC"),
    (nn.Conv3DTranspose, {"kernel_size": 2, "use_bias": False}, "NDHWC"),
    (nn.MaxPool2D, {}, "NHWC"),
]


def _last(array):
    return array if array.ndim == 1 else np.moveaxis(array, 1, -1)


@pytest.mark.once
@pytest.mark.parametrize(("kind", "arguments", "layout"), WINDOWS)
def test_channels_last_are_those_first_transposed(kind, arguments, layout, rng):
    has_weight = kind is not nn.MaxPool2D
    channels = {"channels": 6} if has_weight else {}
    first = kind(**channels, **arguments, prefix="first_")
    last = kind(**channels, **arguments, layout=layout, prefix="last_")
    last.hybridize()
    x = rng.standard_normal((2, 4, 5, 6, 7)[: len(layout)]).astype(np.float32)
    results = []
    for net, host, move in ((first, x, _last), (last, _last(x), np.asarray)):
        data = nd.array(host)
        net.initialize()
        net(data)  # tells the shapes
        if has_weight:
            if net is last:
                assert net.weight.shape == _last(first.weight.data().asnumpy()).shape
                net.weight.set_data(_last(first.weight.data().asnumpy()))
            assert repr(net) == repr(first)
        data.attach_grad()
        params = list(net.collect_params().values())
        with autograd.record():
            y = net(data)
            slope = autograd.grad((y**3).sum(), data, create_graph=True)[0]
            (slope**2).sum().backward()
        grads = [data.grad, *(p.grad() for p in params)]
        results.append([move(a.asnumpy()) for a in (y, *grads)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=2e-4, atol=2e-4)


@pytest.mark.once
def test_nets_with_channels_last_are_exported(rng, tmp_path):
    net = nn.HybridSequential()
    for layer in (
        nn.Conv2D(4, 3, layout="NHWC"),
        nn.BatchNorm(axis=3),
        nn.Conv2DTranspose(3, 2, strides=2, layout="NHWC"),
        nn.AvgPool2D(layout="NHWC"),
        nn.GlobalMaxPool2D(layout="NHWC"),
    ):
        net.add(layer)
    net.initialize()
    net.hybridize()
    x = nd.array(rng.standard_normal((2, 7, 6, 3)).astype(np.float32))
    y = net(x)
    assert y.shape == (2, 1, 1, 3)
    net.export(tmp_path / "net")
    again = mx.gluon.SymbolBlock.imports(tmp_path / "net-symbol.json", "data", tmp_path / "net-0000.params")
    close(again(x), y.asnumpy(), 1e-6)
    _, shapes, _ = mx.sym.load(tmp_path / "net-symbol.json").infer_shape(data=(5, 9, 9, 3))
    assert shapes == [(5, 1, 1, 3)]
    _, shapes, _ = net[0](mx.sym.var("data")).infer_shape(data=(5, 9, 8, 3))
    assert shapes == [(5, 7, 6, 4)]


@pytest.mark.once
def test_channels_last_errors_speak_of_them():
    x = nd.ones((2, 5, 6, 3))
    with pytest.raises(
        MXNetError, match=r"weight is float32 \(4, 3, 3, 2\); accepted: float32 \(4, 3, 3, 3\)"
    ):
        nd.Convolution(x, nd.ones((4, 3, 3, 2)), no_bias=True, layout="NHWC")
    with pytest.raises(MXNetError, match=r"layout is NWC; accepted: NCHW or NHWC"):
        nd.Deconvolution(x, nd.ones((3, 3, 3, 2)), layout="NWC")


@pytest.mark.once
def test_elu_and_its_kin_without_a_name():
    x = np.float32([[-2, -0.5, 0, 3]])
    close(
        nn.SELU()(nd.array(x)), np.where(x > 0, 1.0507010, 1.7580993 * np.expm1(x)) * np.where(x > 0, x, 1)
    )


@pytest.mark.once
def test_lambdas():
    x = nd.array([[-1, 2]])
    assert nn.Lambda(lambda a, b: a + b)(x, x).asnumpy().tolist() == [[-2, 4]]
    assert repr(nn.Lambda("relu")) == "Lambda(relu)"
    hybrid = nn.HybridLambda("relu")
    assert hybrid(x).asnumpy().tolist() == [[0, 2]]
    assert repr(hybrid) == "HybridLambda(relu)"
    for layer in (nn.Lambda, nn.HybridLambda):
        with pytest.raises(OperatorError, match="function is 'relo'; accepted: the name of an op of nd"):
            layer("relo")
        with pytest.raises(MXNetError, match="function is int; accepted: a function"):
            layer(3)


@pytest.mark.once
def test_side_by_side():
    contrib = mx.gluon.contrib.nn
    for stack in (contrib.Concurrent(axis=1), contrib.HybridConcurrent(axis=1)):
        stack.add(contrib.Identity(), nn.HybridLambda(lambda F, x: 2 * x))
        assert stack(nd.array([[1, 2]])).asnumpy().tolist() == [[1, 2, 2, 4]]


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.Conv2D(2, (3, 3, 3)), r"Conv2D: kernel_size is \(3, 3, 3\); accepted: a number, or 2"),
        (lambda: nn.Conv1D(2, 3, layout="WCN"), "Conv1D: layout is 'WCN'; accepted: NCW or NWC"),
        (lambda: nn.Conv2DTranspose(2, 3, output_padding=(1,)), "Conv2DTranspose: output_padding is"),
        (lambda: nn.MaxPool2D(strides=(1, 2, 3)), "MaxPool2D: strides is"),
        (lambda: nn.AvgPool1D(layout="NCHW"), "AvgPool1D: layout is 'NCHW'; accepted: NCW or NWC"),
        (lambda: nn.ReflectionPad2D((1, 2)), "ReflectionPad2D: padding is"),
        (lambda: nn.LeakyReLU(-0.1), "LeakyReLU: alpha is -0.1; accepted: at least 0"),
        (lambda: nn.LeakyReLU("a"), "LeakyReLU: alpha is 'a'; accepted: a number"),
        (lambda: nn.Dense(-1), "Dense: units is -1; accepted: a whole number of at least 1"),
        (lambda: nn.Conv2D(2, 2.5), "Conv2D: kernel_size is 2.5; accepted: a number, or 2 of them"),
        (lambda: nn.Conv2D(2, 3, groups=0), "Conv2D: groups is 0; accepted: a whole number of at least 1"),
        (lambda: nn.Dense(2, prefix=3), "dense: prefix is 3; accepted: str, or None"),
        (lambda: nn.Dense(2, params={}), "dense: params is {}; accepted: ParameterDict, or None"),
        (lambda: nn.Activation("rely")(nd.ones(1)), "act_type is 'rely'"),
        (lambda: mx.gluon.contrib.nn.PixelShuffle2D((2, 0)), "PixelShuffle2D: factor is"),
        (lambda: mx.gluon.contrib.nn.SparseEmbedding(3, 4), "use nn.Embedding"),
        (
            lambda: _called(nn.Conv2D(2, 3), (4, 3, 5)),
            r"conv\d+: .* data is of shape \(4, 3, 5\); accepted: 4 axes",
        ),
        (
            lambda: _called(nn.BatchNorm(), (4,)),
            r"data is of shape \(4,\); accepted: a shape that has the axis 1",
        ),
        (lambda: _called(nn.Dense(2), ()), r"data is of shape \(\); accepted: one axis or more"),
        (lambda: _called(nn.BatchNorm(in_channels=4), (2, 3)), "shape|gamma"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(MXNetError, match=match):
        make()


def _called(layer, shape):
    layer.initialize()
    return layer(nd.ones(shape))


@pytest.mark.once
def test_a_wrong_first_input_can_be_followed_by_a_right_one():
    layer = nn.Conv2D(2, 3)
    layer.initialize()
    with pytest.raises(MXNetError):
        layer(nd.ones((4, 3, 5)))
    assert layer(nd.ones((4, 3, 5, 5))).shape == (4, 2, 3, 3)
