"""Resizing, padding, windows: what the recorded answers of MXNet cannot show."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError, OperatorTypeError

COVERS = {
    "contrib.BilinearResize2D": ("_separable",),
    "contrib.AdaptiveAvgPooling2D": (),
    "UpSampling": (),
    "pad": ("_pad",),
    "Crop": (),
    "im2col": (),
    "col2im": (),
    "depth_to_space": (),
    "space_to_depth": (),
}


def image(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def test_adaptive_averages(rng):
    x = image(rng, 2, 3, 17, 13)
    y = nd.contrib.AdaptiveAvgPooling2D(nd.array(x), output_size=(5, 7)).asnumpy()
    for i in range(5):
        for j in range(7):
            rows = slice(i * 17 // 5, -(-(i + 1) * 17 // 5))
            columns = slice(j * 13 // 7, -(-(j + 1) * 13 // 7))
            expected = x[:, :, rows, columns].astype(np.float64).mean((2, 3))
            np.testing.assert_allclose(y[:, :, i, j], expected, rtol=1e-5, atol=1e-6)


def test_resizing_a_plane_keeps_it_a_plane(rng):
    """Interpolation is exact where the image is a linear function of the place."""
    rows, columns = np.mgrid[0:9, 0:14].astype(np.float32)
    x = (2 * rows - 3 * columns)[None, None]
    y = nd.contrib.BilinearResize2D(nd.array(x), height=23, width=5).asnumpy()
    r, c = np.meshgrid(np.linspace(0, 8, 23), np.linspace(0, 13, 5), indexing="ij")
    np.testing.assert_allclose(y[0, 0], 2 * r - 3 * c, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 2, 4, 3, 5)])
def test_padding_is_numpys(mode, shape, rng):
    x = image(rng, *shape)
    widths = [(0, 0), (0, 0), (2, 1), (0, 2), (3, 1)][: len(shape)]
    flat = tuple(n for pair in widths for n in pair)
    more = {"constant_values": 2.5} if mode == "constant" else {}
    y = nd.pad(nd.array(x), mode=mode, pad_width=flat, constant_value=2.5)
    np.testing.assert_array_equal(y.asnumpy(), np.pad(x, widths, mode, **more))


def test_padding_whole_numbers_is_exact():
    x = nd.array(np.array([[[[2**31 - 1, -(2**31)]]]]), dtype="int32")
    y = nd.pad(x, mode="edge", pad_width=(0, 0, 0, 0, 0, 0, 1, 1))
    assert y.asnumpy().ravel().tolist() == [2**31 - 1, 2**31 - 1, -(2**31), -(2**31)]


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel": (3, 2)},
        {"kernel": (3, 3), "stride": (2, 1), "dilate": (1, 2), "pad": (1, 2)},
    ],
)
def test_columns_times_weight_are_the_convolution(attributes, rng):
    x, w = image(rng, 2, 3, 11, 9), image(rng, 4, 3, *attributes["kernel"])
    columns = nd.im2col(nd.array(x), **attributes)
    product = np.einsum("oc,bcp->bop", w.reshape(4, -1), columns.asnumpy())
    expected = nd.Convolution(nd.array(x), nd.array(w), num_filter=4, no_bias=True, **attributes)
    np.testing.assert_allclose(product.reshape(expected.shape), expected.asnumpy(), rtol=1e-4, atol=1e-5)


def test_col2im_is_the_gradient_of_im2col(rng):
    attributes = {"kernel": (3, 2), "stride": (2, 1), "pad": (1, 0)}
    x = nd.array(image(rng, 2, 3, 8, 7))
    x.attach_grad()
    with autograd.record():
        y = nd.im2col(x, **attributes)
    dy = nd.array(image(rng, *y.shape))
    y.backward(dy)
    expected = nd.col2im(dy, output_size=(8, 7), **attributes)
    assert x.grad.asnumpy().tobytes() == expected.asnumpy().tobytes()


def test_space_and_depth_undo_each_other(rng):
    x = nd.array(image(rng, 2, 12, 6, 4))
    there = nd.space_to_depth(nd.depth_to_space(x, 2), block_size=2)
    np.testing.assert_array_equal(there.asnumpy(), x.asnumpy())
    np.testing.assert_array_equal(x.depth_to_space(2).space_to_depth(2).asnumpy(), x.asnumpy())


@pytest.mark.parametrize(
    "call",
    [
        lambda x: nd.contrib.BilinearResize2D(x, height=3, width=5),
        lambda x: nd.contrib.AdaptiveAvgPooling2D(x, output_size=3),
        lambda x: nd.UpSampling(x, scale=2, sample_type="nearest"),
        lambda x: nd.pad(x, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1)),
        lambda x: nd.pad(x, mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 1, 1)),
        lambda x: nd.im2col(x, kernel=(2, 2)),
        lambda x: nd.depth_to_space(x, 2),
        lambda x: nd.space_to_depth(x, 2),
    ],
)
def test_an_empty_batch_has_a_result_and_a_gradient(call):
    x = nd.zeros((0, 4, 4, 4))
    x.attach_grad()
    with autograd.record():
        y = call(x)
    y.backward()
    assert y.size == 0
    assert y.ndim > 1
    assert x.grad.shape == x.shape


def test_gradients_repeat_to_the_bit(rng):
    found = set()
    for _ in range(2):
        x = nd.array(np.linspace(-1, 1, 2 * 3 * 17 * 13).reshape(2, 3, 17, 13))
        x.attach_grad()
        with autograd.record():
            y = nd.contrib.BilinearResize2D(x, height=29, width=5)
            z = (y * y).sum()
        z.backward()
        found.add(x.grad.asnumpy().tobytes())
    assert len(found) == 1


def test_crop_keeps_to_the_second_array(rng):
    x = image(rng, 2, 3, 7, 9)
    like = nd.zeros((1, 1, 4, 3))
    np.testing.assert_array_equal(nd.Crop(nd.array(x), like, offset=(2, 5)).asnumpy(), x[:, :, 2:6, 5:8])
    np.testing.assert_array_equal(
        nd.Crop(nd.array(x), h_w=(3, 3), center_crop=True).asnumpy(), x[:, :, 2:5, 3:6]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nd.contrib.BilinearResize2D(x, height=0), r"height, width is \(0, 1\); accepted: 1 or"),
        (lambda x: nd.contrib.BilinearResize2D(x, x, height=3), "like is an array; accepted: an array in"),
        (
            lambda x: nd.contrib.AdaptiveAvgPooling2D(x, (1, 2, 3)),
            "output_size is .*; accepted: one or two",
        ),
        (lambda x: nd.contrib.AdaptiveAvgPooling2D(x.astype("int32")), "data is of dtype int32"),
        (lambda x: nd.UpSampling(x, scale=2, sample_type="cubic"), "sample_type is 'cubic'; accepted"),
        (lambda x: nd.UpSampling(scale=2, sample_type="nearest"), "data is missing; accepted: one or more"),
        (lambda x: nd.UpSampling(x, x, scale=2, sample_type="bilinear"), r"accepted: \(4, 1, 4, 4\)"),
        (lambda x: nd.pad(x, mode="edge", pad_width=(1,) * 8), "accepted: 8 numbers, the first four 0"),
        (lambda x: nd.pad(x, mode="reflect", pad_width=(0,) * 7 + (4,)), "less than the sizes"),
        (lambda x: nd.Crop(x, h_w=(5, 1)), r"h_w is \(5, 1\); accepted: sizes from 1 to those of data"),
        (lambda x: nd.im2col(x, kernel=(5, 5)), r"kernel is \(5, 5\); accepted: no more than the padded"),
        (
            lambda x: nd.im2col(x, kernel=(2, 2), stride=(0, 1)),
            r"stride is \(0, 1\); accepted: 2 numbers of 1",
        ),
        (lambda x: nd.depth_to_space(x, 3), "block_size is 3; accepted: its square divides 4 channels"),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises((OperatorError, OperatorTypeError), match=message):
        call(nd.ones((2, 4, 4, 4)))
