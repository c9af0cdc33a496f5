"""Pooling over regions of images."""

import numpy as np

from golden.case import REAL, Case, distinct, uniform, values

CASES = []

REGIONS = values([[0, 0.3, 0.2, 4, 4.7], [1, 1, 1, 3, 3], [0, 2, 0, 3, 1]]).constant()
IMAGES = (2, 1, 3, 4)


def pool(tag, rois=REGIONS, shape=IMAGES, sweep=False, error=False, **attributes):
    attributes = {"pooled_size": (2, 2), "spatial_scale": 1.0, **attributes}
    arrays = (distinct(*shape), rois)
    return Case("ROIPooling", arrays, attributes, tag, sweep=sweep, dtypes=REAL, error=error)


def align(tag, rois=REGIONS, shape=IMAGES, sweep=False, error=False, **attributes):
    attributes = {"pooled_size": (2, 2), "spatial_scale": 1.0, **attributes}
    arrays = (uniform(*shape), rois)
    return Case("contrib.ROIAlign", arrays, attributes, tag, sweep=sweep, dtypes=REAL, error=error)


def one(*region):
    return values([region]).constant()


CASES += [
    pool("main", sweep=True),
    pool("scale", spatial_scale=0.7),
    pool("scale 0", spatial_scale=0.0),
    pool("more bins", pooled_size=(3, 1), shape=(2, 2, 3, 4)),
    pool("outside", one(0, -3, -3, 20, 20)),
    pool("far outside", one(0, 30, 30, 40, 40)),
    pool("turned", one(0, 2, 2, 1, 1)),
    pool("halves", one(0, 0.5, 1.5, 2.5, 2.5)),
    pool("no image", values([[-1, 0, 0, 2, 2], [0, 0, 0, 2, 2]]).constant()),
    pool("scale 2", spatial_scale=2.0, error=True),
    pool("columns", values([[0, 1, 1, 2]]).constant(), error=True),
    pool("size", pooled_size=(0, 2), error=True),
]
CASES += [
    align("main", sweep=True),
    align("samples", sample_ratio=2, spatial_scale=0.7),
    align("one sample", sample_ratio=1),
    align("aligned", aligned=True),
    align("aligned samples", aligned=True, sample_ratio=2, spatial_scale=0.7),
    align("more bins", pooled_size=(3, 1)),
    align("by position", position_sensitive=True, shape=(2, 4, 2, 3)),
    align(
        "by position, more", position_sensitive=True, pooled_size=(1, 2), shape=(2, 4, 3, 3), aligned=True
    ),
    align("outside", one(0, -3, -3, 9, 9)),
    align("far outside", one(0, 30, 30, 40, 40)),
    align("turned", one(0, 2, 2, 1, 1)),
    Case(
        "contrib.ROIAlign",
        (uniform(1, 1, 3, 4), one(-1, 0, 0, 2, 2)),
        {"pooled_size": (2, 2), "spatial_scale": 1.0},
        "no image",
        reference=lambda data, rois, **_: np.zeros((1, 1, 2, 2)),
        why="MXNet says 0 and leaves the memory as it was",
    ),
    align("channels", position_sensitive=True, shape=(2, 3, 2, 3), error=True),
    align("columns", values([[0, 1, 1, 2]]).constant(), error=True),
]
