"""The convolution planner: geometry, the three products, all kernel shapes, against plain numpy.

Operands are small integers, so results are exact in any order of summation.
"""

import itertools

import numpy as np
import plan_harness
import pytest

from clgrad.device import current_context
from clgrad.errors import OperatorError
from clgrad.kernels import conv, conv_direct, conv_outer, matmul_cpu, matmul_gpu, product
from clgrad.kernels.conv import ConvGeometry

FLOAT = np.dtype("float32")
SHAPES = ("cpu", "gpu")

GEOMETRIES = {
    "1d": ConvGeometry(2, 3, 4, (9,), (3,)),
    "1d_stride_dilate_pad": ConvGeometry(2, 3, 4, (17,), (4,), (3,), (2,), (5,)),
    "rows_shorter_than_vectors": ConvGeometry(3, 5, 6, (6, 5), (3, 2), (1, 1), (1, 1), (1, 0)),
    "rows_of_whole_vectors": ConvGeometry(1, 3, 5, (34, 34), (3, 3)),
    "same": ConvGeometry(2, 8, 13, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1)),
    "stride_2": ConvGeometry(2, 4, 6, (13, 36), (3, 3), (2, 2), (1, 1), (1, 1)),
    "stride_beyond_kernel": ConvGeometry(2, 3, 4, (9, 8), (1, 1), (2, 3)),
    "stride_3_dilate_2": ConvGeometry(1, 5, 7, (15, 13), (3, 2), (2, 3), (2, 2), (2, 1)),
    "groups": ConvGeometry(2, 6, 9, (7, 10), (3, 3), (1, 1), (1, 1), (1, 1), groups=3),
    "depthwise": ConvGeometry(2, 5, 5, (6, 7), (3, 3), (1, 1), (1, 1), (1, 1), groups=5),
    "pad_beyond_image": ConvGeometry(1, 2, 2, (2, 2), (2, 2), (1, 1), (1, 1), (4, 4)),
    "3d": ConvGeometry(2, 2, 3, (5, 6, 7), (2, 3, 3), (1, 2, 1), (1, 1, 2), (1, 0, 2)),
    "long_sum": ConvGeometry(2, 130, 70, (5, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
}

#: Shapes of which at least one product is direct.
DIRECT = {
    "stride_2": ConvGeometry(3, 4, 4, (15, 37), (4, 3), (2, 1), (1, 2), (2, 1), groups=4),
    "dilated": ConvGeometry(2, 6, 9, (11, 20), (3, 2), (1, 1), (2, 3), (2, 1), groups=3),
    "1d": ConvGeometry(2, 2, 4, (1100,), (7,), (2,), (1,), (3,), groups=2),
    "grey_images": ConvGeometry(9, 1, 3, (12, 13), (5, 5)),
}


def device(shape):
    own = current_context().device
    return own if shape == "own" else plan_harness.device_of_shape(shape)


def integers(rng, shape, dtype=FLOAT):
    return rng.integers(-3, 4, shape).astype(dtype)


def windows(x, g, tap):
    """What tap sees of the padded data: [image][channel][output position...]."""
    return x[(slice(None), slice(None), *(
        slice(t * d, t * d + (o - 1) * s + 1, s)
        for t, d, o, s in zip(tap, g.dilate, g.output, g.stride, strict=True)
    ))]  # fmt: skip


def grouped(x, g, axis):
    """Split the channel axis into (group, channel of the group)."""
    return x.reshape(*x.shape[:axis], g.groups, -1, *x.shape[axis + 1 :])


def reference(x, w, dy, g):
    """Forward, data gradient and weight gradient, tap by tap, in float64."""
    padding = [(0, 0), (0, 0), *((p, p) for p in g.pad)]
    x = np.pad(x.astype(np.float64), padding)
    w, dy = w.astype(np.float64), dy.astype(np.float64)
    y, dx, dw = np.zeros(g.output_shape), np.zeros(x.shape), np.zeros(g.weight_shape)
    for tap in itertools.product(*map(range, g.kernel)):
        seen = grouped(windows(x, g, tap), g, 1).reshape(g.batch, g.groups, g.group_in, -1)
        weights = grouped(w[(slice(None), slice(None), *tap)], g, 0)
        gradient = grouped(dy, g, 1).reshape(g.batch, g.groups, g.group_out, -1)
        y += np.einsum("ngip,goi->ngop", seen, weights).reshape(y.shape)
        target = windows(dx, g, tap)
        target += np.einsum("ngop,goi->ngip", gradient, weights).reshape(target.shape)
        part = np.einsum("ngop,ngip->goi", gradient, seen)
        dw[(slice(None), slice(None), *tap)] = part.reshape(g.out_channels, g.group_in)
    inner = tuple(slice(p, p + s) for p, s in zip(g.pad, g.size, strict=True))
    return y, dx[(slice(None), slice(None), *inner)], dw


def check_all(kernel_shape, g, rng, dtype=FLOAT):
    """Run the three products of a geometry and compare them with the reference."""
    chosen = device(kernel_shape)
    x, w = integers(rng, g.data_shape, dtype), integers(rng, g.weight_shape, dtype)
    dy = integers(rng, g.output_shape, dtype)
    y, dx, dw = reference(x, w, dy, g)
    (out,) = plan_harness.run(conv.plan_forward(chosen, "test_conv", dtype, g), [x, w])
    np.testing.assert_array_equal(out, y)
    (out,) = plan_harness.run(conv.plan_grad_data(chosen, "test_conv_data", dtype, g), [dy, w])
    np.testing.assert_array_equal(out, dx)
    (out,) = plan_harness.run(conv.plan_grad_weight(chosen, "test_conv_weight", dtype, g), [x, dy])
    np.testing.assert_array_equal(out, dw)


#: What is of one kind to the products of GPUs: how rows lie in vectors is for CPUs to mind.
ALIKE_ON_GPUS = {
    "rows_shorter_than_vectors",
    "rows_of_whole_vectors",
    "stride_2",
    "stride_beyond_kernel",
    "depthwise",
}


@pytest.mark.parametrize(
    ("name", "kernel_shape"),
    [(n, s) for n in GEOMETRIES for s in SHAPES if s == "cpu" or n not in ALIKE_ON_GPUS],
)
def test_forward_and_gradients(kernel_shape, name, rng, monkeypatch):
    """A tap off by one, a wrong mask or phase, or groups that mix break this."""
    leave_to_products(monkeypatch, conv_direct, conv_outer)
    check_all(kernel_shape, GEOMETRIES[name], rng)


def leave_to_products(monkeypatch, *planners):
    for planner in planners:
        monkeypatch.setattr(planner, "takes", lambda device, product: False)


def is_direct(plan):
    return any("planes[" in step.source for step in plan.steps)


@pytest.mark.parametrize("name", DIRECT)
def test_direct(name, rng):
    """What lies behind the ends of rows, a plane of the wrong phase, or a part of the images would show."""
    g, cpu = DIRECT[name], device("cpu")
    assert is_direct(conv.plan_grad_data(cpu, "test_conv_data", FLOAT, g))
    assert is_direct(conv.plan_grad_weight(cpu, "test_conv_weight", FLOAT, g))
    check_all("cpu", g, rng)


@pytest.mark.parametrize("name", ["stride_2", "grey_images"])
def test_direct_by_small_tiles(name, rng, monkeypatch):
    """Edges of tiles, tiles of different sizes, and blocks of channels, which large images have."""
    for budget, elements in (("_FEW", 300), ("_MANY", 300), ("_COLUMNS", 8)):
        monkeypatch.setattr(conv_direct, budget, elements)
    check_all("cpu", DIRECT[name], rng)


@pytest.mark.parametrize("tiles", ["large", "small"])
@pytest.mark.parametrize("name", ["same", "stride_2", "dilated"])
def test_outer_products(name, tiles, rng, monkeypatch):
    """Rows and channels beyond the last, parts of the images that add up, and edges of tiles."""
    leave_to_products(monkeypatch, conv_direct)
    monkeypatch.setattr(conv_outer, "_LEAST_POSITIONS", 1)
    if tiles == "small":
        for budget, elements in (("_HEADS", 400), ("_PLANES", 300), ("_TAPS", 20)):
            monkeypatch.setattr(conv_outer, budget, elements)
    g = (GEOMETRIES | DIRECT)[name]
    x, dy = integers(rng, g.data_shape), integers(rng, g.output_shape)
    plan = conv.plan_grad_weight(device("cpu"), "test_conv_weight", FLOAT, g)
    assert is_direct(plan)
    (out,) = plan_harness.run(plan, [x, dy])
    np.testing.assert_array_equal(out, reference(x, integers(rng, g.weight_shape), dy, g)[2])


@pytest.mark.parametrize("channels", [(5, 9), (9, 5)])
def test_pointwise_weight_gradient(channels, rng, monkeypatch):
    """A part of the wrong image, or the transpose of what is asked for."""
    monkeypatch.setattr(conv, "_POINTWISE_POSITIONS", 1)
    monkeypatch.setattr(conv, "_POINTWISE_CHANNELS", 1)
    g = ConvGeometry(3, *channels, (7, 6), (1, 1))
    x, dy = integers(rng, g.data_shape), integers(rng, g.output_shape)
    plan = conv.plan_grad_weight(device("cpu"), "test_conv_weight", FLOAT, g)
    assert len(plan.steps) == 2
    (out,) = plan_harness.run(plan, [x, dy])
    np.testing.assert_array_equal(out, reference(x, integers(rng, g.weight_shape), dy, g)[2])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_direct_dtypes(dtype, rng):
    if dtype == "float64" and not current_context().device.capabilities.fp64:
        pytest.skip("the device has no fp64")
    check_all("cpu", DIRECT["dilated"], rng, np.dtype(dtype))


def test_direct_leaves_infinity_where_it_is_seen(rng):
    """Column 0 is seen by the first tap of a row only; behind the row before there is no zero times it."""
    g = ConvGeometry(1, 2, 2, (6, 9), (3, 3), groups=2)
    x, dy = integers(rng, g.data_shape), np.abs(integers(rng, g.output_shape)) + 1
    x[0, :, 3, 0], x[0, 1, 4, 8] = np.inf, np.nan
    _, _, dw = reference(x, integers(rng, g.weight_shape), dy, g)
    (out,) = plan_harness.run(conv.plan_grad_weight(device("cpu"), "test_conv_weight", FLOAT, g), [x, dy])
    np.testing.assert_array_equal(out, dw)


@pytest.mark.parametrize("name", ["same", "stride_2", "groups", "long_sum"])
def test_tiles_of_the_device_itself(name, rng):
    check_all("own", GEOMETRIES[name], rng)


@pytest.mark.parametrize("kernel_shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_dtypes(kernel_shape, dtype, rng):
    """Masks and vector loads depend on the size of the compute type."""
    if dtype == "float64" and not current_context().device.capabilities.fp64:
        pytest.skip("the device has no fp64")
    check_all(kernel_shape, GEOMETRIES["stride_2"], rng, np.dtype(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(8))
def test_random_geometries(trial, rng):
    """Combinations that nobody thought of; a failure is replayed with --seed."""
    groups = int(rng.integers(1, 4))
    rank = int(rng.integers(1, 4))

    def draw(low, high):
        return tuple(int(v) for v in rng.integers(low, high, rank))

    kernel, dilate = draw(1, 5), draw(1, 4)
    size = tuple(
        int(rng.integers((k - 1) * d + 1, (k - 1) * d + 14 - 3 * rank))
        for k, d in zip(kernel, dilate, strict=True)
    )
    channels = groups * int(rng.integers(1, 6)), groups * int(rng.integers(1, 14))
    g = ConvGeometry(2, *channels, size, kernel, draw(1, 4), dilate, draw(0, 4), groups)
    check_all("own", g, rng)


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_bias_is_by_channel_of_each_group(kernel_shape, rng):
    """A bias indexed within the group, or added by one phase of the stride only, breaks this."""
    g = ConvGeometry(2, 4, 6, (9, 9), (3, 3), (2, 2), (1, 1), (1, 1), groups=2)
    x, w, dy = (integers(rng, s) for s in (g.data_shape, g.weight_shape, g.output_shape))
    y, dx, _ = reference(x, w, dy, g)
    forward_bias, data_bias = integers(rng, 6), integers(rng, 4)
    chosen = device(kernel_shape)
    plan = conv.plan_forward(chosen, "test_conv", FLOAT, g, bias=True)
    (out,) = plan_harness.run(plan, [x, w, forward_bias])
    np.testing.assert_array_equal(out, y + forward_bias[:, None, None])
    plan = conv.plan_grad_data(chosen, "test_conv_data", FLOAT, g, bias=True)
    (out,) = plan_harness.run(plan, [dy, w, data_bias])
    np.testing.assert_array_equal(out, dx + data_bias[:, None, None])


@pytest.mark.parametrize("kernel_shape", SHAPES)
def test_offsets_of_64_bits(kernel_shape, rng, monkeypatch):
    """The kernels for arrays of 2^31 elements and more, on small ones: they build and agree."""
    for module in (product, conv_direct, conv_outer, matmul_cpu, matmul_gpu):
        monkeypatch.setattr(module, "index_wide", lambda product, splits=1: True)
    check_all(kernel_shape, GEOMETRIES["groups"], rng)


def test_weights_without_images_get_a_gradient_of_zero():
    """An empty batch launches a sum over nothing; memory's old content must not show."""
    g = ConvGeometry(0, 2, 3, (5, 5), (3, 3))
    plan = conv.plan_grad_weight(current_context().device, "test_conv_weight", FLOAT, g)
    nothing = [np.empty(g.data_shape, FLOAT), np.empty(g.output_shape, FLOAT)]
    (dw,) = plan_harness.run(plan, nothing)
    np.testing.assert_array_equal(dw, np.zeros(g.weight_shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": (3,)}, r"kernel=\(3,\) has 1 entries; accepted: 2"),
        ({"stride": (0, 1)}, r"stride=\(0, 1\); accepted: 1 or more"),
        ({"pad": (-1, 0)}, r"pad=\(-1, 0\); accepted: 0 or more"),
        ({"groups": 0}, "groups=0; accepted: 1 or more"),
        ({"groups": 3}, "in_channels=4 with groups=3; accepted: a multiple of groups"),
        ({"dilate": (4, 1)}, "spans 9 along spatial axis 0; accepted: at most the padded size 8"),
        ({"size": ()}, "data has 0 spatial axes"),
    ],
)
def test_errors_name_argument_given_and_accepted(arguments, message):
    valid = {"batch": 1, "in_channels": 4, "out_channels": 6, "size": (8, 8), "kernel": (3, 3)}
    with pytest.raises(OperatorError, match=message):
        ConvGeometry(**(valid | arguments))
