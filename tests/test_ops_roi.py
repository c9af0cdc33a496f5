"""Pooling over regions: what the recorded answers of MXNet cannot show."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import OperatorError

COVERS = {
    "ROIPooling": ("_roi_max", "_roi_max_scatter", "_roi_max_gather"),
    "contrib.ROIAlign": ("_roi_align", "_roi_align_grad"),
}
ROIS = [[0, 0.3, 0.2, 4, 4.7], [1, 1, 1, 3, 3], [0, 2, 0, 9, 7]]


@pytest.mark.parametrize("op", [nd.ROIPooling, nd.contrib.ROIAlign])
def test_gradients_repeat_to_the_bit_and_regions_have_none(op, rng):
    x, rois = nd.array(rng.standard_normal((2, 3, 9, 9))), nd.array(ROIS)
    x.attach_grad()
    rois.attach_grad()
    found = set()
    for _ in range(2):
        with autograd.record():
            y = op(x, rois, pooled_size=(3, 3), spatial_scale=0.9)
        y.backward()
        found.add(x.grad.asnumpy().tobytes())
    assert len(found) == 1
    assert np.abs(x.grad.asnumpy()).sum() > 0
    assert (rois.grad.asnumpy() == 0).all()


@pytest.mark.parametrize("op", [nd.ROIPooling, nd.contrib.ROIAlign])
@pytest.mark.parametrize(("images", "rows"), [(2, 0), (0, 2), (0, 0)])
def test_no_regions_or_no_images(op, images, rows):
    x, rois = nd.ones((images, 3, 4, 4)), nd.zeros((rows, 5))
    x.attach_grad()
    with autograd.record():
        y = op(x, rois, pooled_size=(2, 2), spatial_scale=1.0)
    y.backward()
    assert y.shape == (rows, 3, 2, 2)
    assert (y.asnumpy() == 0).all()
    assert (x.grad.asnumpy() == 0).all()


def test_a_region_without_extent_gives_zero():
    x, rois = nd.ones((1, 1, 4, 4)), nd.array([[0, 3, 3, 1, 1]])
    y = nd.contrib.ROIAlign(x, rois, pooled_size=(2, 2), spatial_scale=1.0, aligned=True)
    assert (y.asnumpy() == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, r: nd.ROIPooling(x, r, (2, 2), 2), "ROIPooling: spatial_scale is 2; accepted: 0 to 1"),
        (
            lambda x, r: nd.ROIPooling(x, r[:, :4], (2, 2), 1),
            r"rois is float32 \(3, 4\); accepted",
        ),
        (lambda x, r: nd.ROIPooling(x[0], r, (2, 2), 1), r"data is float32 \(4, 5, 5\); accepted: real"),
        (lambda x, r: nd.contrib.ROIAlign(x, r, (0, 2), 1), r"pooled_size is \(0, 2\); accepted: two"),
        (lambda x, r: nd.contrib.ROIAlign(x.astype("int32"), r, (2, 2), 1), "data is int32"),
        (
            lambda x, r: nd.contrib.ROIAlign(x, r, (3, 1), 1, position_sensitive=True),
            "accepted: a multiple of 3 channels",
        ),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises(OperatorError, match=message):
        call(nd.ones((2, 4, 5, 5)), nd.array(ROIS))
