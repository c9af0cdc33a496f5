"""Sampling of images at the places of a grid."""

import numpy as np

from golden.case import REAL, Array, Case, uniform, values

CASES = []


def amid(batch, size, *out):
    """Places whose distance to any element of an image of that size is at least a fifth of an element."""

    def draw(rng):
        parts = []
        for n in (size[1], size[0]):
            lower = rng.randint(-2, n + 1, (batch, 1, *out))
            share = rng.uniform(0.2, 0.8, (batch, 1, *out))
            parts.append(np.round((2 * (lower + share) / (n - 1) - 1) * 256) / 256)
        return np.concatenate(parts, 1)

    return Array(draw)


CASES += [
    Case(
        "BilinearSampler", (uniform(1, 2, 3, 4), amid(1, (3, 4), 2, 2)), {}, "main", sweep=True, dtypes=REAL
    ),
    Case("BilinearSampler", (uniform(2, 1, 4, 3), amid(2, (4, 3), 1, 3)), {}, "batch"),
    Case(
        "BilinearSampler", (uniform(1, 1, 3, 3), amid(1, (3, 3), 3, 2)), {"cudnn_off": True}, "more places"
    ),
    Case(
        "BilinearSampler",
        (uniform(1, 1, 3, 4), values([[[[1, -1, 1.25, -1.25, 0]], [[1, -1, 1, -1, 5]]]])),
        {},
        "on the edge",
        orders=0,
    ),
    Case("BilinearSampler", (uniform(1, 1, 1, 1), uniform(1, 2, 2, 2)), {}, "one element", orders=0),
    Case(
        "BilinearSampler",
        (uniform(1, 1, 3, 4), values([[[[np.nan, 0, np.inf]], [[0, np.nan, 0]]]])),
        {},
        "special",
        orders=0,
    ),
    Case("BilinearSampler", (uniform(2, 1, 3, 4), amid(1, (3, 4), 2, 2)), {}, "batches", error=True),
    Case("BilinearSampler", (uniform(1, 1, 3, 4), uniform(1, 3, 2, 2)), {}, "grid", error=True),
]

AFFINE = {"transform_type": "affine"}


def centre(data, **_):
    """One row: y is 0 there."""
    x = np.linspace(-1, 1, 3)
    rows = data.reshape(-1, 2, 3)
    return (rows[..., :1] * x + rows[..., 2:]).reshape(-1, 2, 1, 3)


CASES += [
    Case(
        "GridGenerator",
        (uniform(2, 6),),
        {**AFFINE, "target_shape": (2, 3)},
        "main",
        sweep=True,
        dtypes=("float32",),
    ),
    Case(
        "GridGenerator",
        (uniform(1, 6),),
        {**AFFINE, "target_shape": (1, 3)},
        "one row",
        reference=centre,
        why="MXNet divides by 0: an axis of one place has it in the middle",
    ),
    Case("GridGenerator", (uniform(1, 2, 2, 3),), {"transform_type": "warp"}, "warp"),
    Case("GridGenerator", (uniform(1, 6),), AFFINE, "no size", error=True),
    Case("GridGenerator", (uniform(1, 2, 3),), {**AFFINE, "target_shape": (2, 3)}, "matrix", error=True),
    Case("GridGenerator", (uniform(1, 3, 2, 3),), {"transform_type": "warp"}, "channels", error=True),
    Case(
        "GridGenerator",
        (uniform(1, 6),),
        {"transform_type": "bend", "target_shape": (2, 3)},
        "type",
        error=True,
    ),
]

SPATIAL = {"transform_type": "affine", "sampler_type": "bilinear"}
#: Two maps that take the grid amid the elements of an image of 3 x 4, or outside of it.
TURN = values([[0.65, -0.33, -0.27, -0.07, 0.56, 0.01], [1.35, -0.34, 0.33, 0.01, 0.98, 0.42]])
CASES += [
    Case(
        "SpatialTransformer",
        (uniform(2, 1, 3, 4), TURN),
        {**SPATIAL, "target_shape": (2, 3)},
        "main",
        sweep=True,
        dtypes=("float32", "float64"),
    ),
    Case(
        "SpatialTransformer",
        (uniform(1, 2, 3, 3), values([[1, 0, 0, 0, 1, 0]])),
        {**SPATIAL, "target_shape": (3, 3)},
        "as it is",
        orders=0,
    ),
    Case("SpatialTransformer", (uniform(1, 1, 3, 4), uniform(1, 6)), SPATIAL, "no size", error=True),
    Case(
        "SpatialTransformer",
        (uniform(1, 1, 3, 4), uniform(1, 2, 3)),
        {**SPATIAL, "target_shape": (2, 2)},
        "matrix",
        error=True,
    ),
]
