"""Images resized, averaged, repeated."""

from golden.case import REAL, Case, uniform

CASES = []


def case(op, tag, *shapes, sweep=False, error=False, **attributes):
    arrays = tuple(uniform(*shape) for shape in shapes)
    return Case(op, arrays, attributes, tag, sweep=sweep, dtypes=REAL, error=error, atol=1e-6)


def bilinear(tag, *shapes, **more):
    return case("contrib.BilinearResize2D", tag, *shapes, **more)


def average(tag, *shape, **more):
    return case("contrib.AdaptiveAvgPooling2D", tag, shape, **more)


def upsampling(tag, *shapes, **more):
    return case("UpSampling", tag, *shapes, **more)


DATA = (1, 2, 3, 4)
CASES += [
    bilinear("main", DATA, height=2, width=5, sweep=True),
    bilinear("default", DATA),
    bilinear("cells", DATA, height=2, width=5, align_corners=False),
    bilinear("enlarged cells", DATA, height=5, width=7, align_corners=False),
    bilinear("same", DATA, height=3, width=4),
    bilinear("one row", DATA, height=1, width=3, align_corners=False),
    bilinear("of one", (1, 1, 1, 1), height=2, width=3),
    bilinear("scale", DATA, scale_height=2, scale_width=1.5),
    bilinear("shrunk by scale", (1, 1, 4, 5), scale_height=0.5, scale_width=0.5),
    bilinear("odd_scale", DATA, scale_height=2, scale_width=2, mode="odd_scale"),
    bilinear("odd_scale shrunk", (1, 1, 5, 4), scale_height=0.5, scale_width=0.5, mode="odd_scale"),
    bilinear("like", DATA, (1, 1, 2, 2), mode="like"),
    bilinear("odd_scale without scale", DATA, mode="odd_scale", error=True),
    bilinear("like without array", DATA, mode="like", error=True),
    bilinear("array without like", DATA, DATA, error=True),
    bilinear("height 0", DATA, height=0, width=2, error=True),
    bilinear("mode", DATA, mode="nearest", error=True),
    bilinear("rank", (2, 3, 4), height=2, width=2, error=True),
]
CASES += [
    bilinear(f"{mode} {shape[2:]}", shape, mode=mode)
    for mode in ("to_even_down", "to_even_up", "to_odd_down", "to_odd_up")
    for shape in (DATA, (1, 1, 4, 3))
]
CASES += [
    average("main", *DATA, output_size=(2, 3), sweep=True),
    average("default", *DATA),
    average("one number", *DATA, output_size=2),
    average("tuple of one", *DATA, output_size=(2,)),
    average("string", *DATA, output_size="(2, 3)"),
    average("divides", 1, 2, 4, 4, output_size=(2, 4)),
    average("enlarged", 1, 1, 2, 3, output_size=(3, 5)),
    average("same", 1, 1, 2, 3, output_size=(2, 3)),
]
CASES += [
    upsampling("main", (1, 2, 2, 3), scale=2, sample_type="nearest", sweep=True),
    upsampling("scale 1", (1, 2, 2, 3), scale=1, sample_type="nearest"),
    upsampling("scale 3", (1, 1, 2, 1), scale=3, sample_type="nearest"),
    upsampling("two", (1, 1, 2, 3), (1, 2, 2, 3), scale=2, sample_type="nearest", num_args=2),
    upsampling("two sizes", (1, 1, 2, 4), (1, 2, 1, 2), scale=1, sample_type="nearest", num_args=2),
    upsampling(
        "sum",
        (1, 1, 2, 4),
        (1, 1, 1, 2),
        (1, 1, 2, 4),
        scale=1,
        sample_type="nearest",
        multi_input_mode="sum",
        num_args=3,
    ),
    upsampling(
        "weight", (1, 2, 2, 2), (2, 1, 4, 4), scale=2, sample_type="bilinear", num_filter=2, num_args=2
    ),
    upsampling(
        "odd weight", (1, 1, 2, 2), (1, 1, 5, 5), scale=3, sample_type="bilinear", num_filter=1, num_args=2
    ),
    upsampling("scale 0", (1, 2, 2, 3), scale=0, sample_type="nearest", error=True),
    upsampling("type", (1, 2, 2, 3), scale=2, sample_type="cubic", error=True),
    upsampling("mode", (1, 2, 2, 3), scale=2, sample_type="nearest", multi_input_mode="mean", error=True),
    upsampling("rank", (2, 2, 3), scale=2, sample_type="nearest", error=True),
    upsampling("sizes", (1, 1, 2, 4), (1, 1, 3, 4), scale=1, sample_type="nearest", error=True),
    upsampling(
        "sum of channels",
        (1, 1, 2, 4),
        (1, 2, 2, 4),
        scale=1,
        sample_type="nearest",
        multi_input_mode="sum",
        error=True,
    ),
    upsampling("no weight", (1, 1, 2, 2), scale=2, sample_type="bilinear", num_filter=1, error=True),
]
