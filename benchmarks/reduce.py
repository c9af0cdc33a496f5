"""Sums, extrema, norms and positions of extrema, over each kind of axes, of 4M elements."""

from collections.abc import Sequence

from benchmarks.cases import Op, descriptions, normal, runners, with_gradients

BAR = {"torch": 1.0}

#: Name: shape, axes.
AXES = {
    "all axes": ((2048, 2048), None),
    "inner axis": ((2048, 2048), 1),
    "leading axis": ((2048, 2048), 0),
    "middle axis": ((64, 256, 256), 1),
    "of channels": ((32, 64, 46, 46), (0, 2, 3)),
    "short rows": ((262144, 16), 1),
}


def _along(name: str, places: Sequence[str], mxnet, torch, tinygrad) -> dict[str, Op]:
    """A case for each place. The functions take an array, and axes under the framework's own keyword."""
    return {f"{name} {place}": _case(name, *AXES[place], mxnet, torch, tinygrad) for place in places}


def _case(name: str, shape: tuple[int, ...], axes, mxnet, torch, tinygrad) -> Op:
    axis, dim = ({}, {}) if axes is None else ({"axis": axes}, {"dim": axes})
    return Op(
        f"{name} of {' x '.join(map(str, shape))}, axes {'all' if axes is None else axes}",
        [normal(*shape)],
        mxnet=lambda nd, x: mxnet(nd, x, **axis),
        torch=lambda module, x: torch(module, x, **dim),
        tinygrad=lambda tensor, x: tinygrad(x, **axis),
    )


def _named(name: str, places: Sequence[str]) -> dict[str, Op]:
    """Of a reduction that has this name everywhere."""
    return _along(
        name,
        places,
        lambda nd, x, **axes: getattr(nd, name)(x, **axes),
        lambda torch, x, **axes: getattr(torch, name)(x, **axes),
        lambda x, **axes: getattr(x, name)(**axes),
    )


THREE = ("all axes", "inner axis", "leading axis")
EXTREMA = _along(
    "max",
    THREE,
    lambda nd, x, **axes: nd.max(x, **axes),
    lambda torch, x, **axes: torch.amax(x, **axes),
    lambda x, **axes: x.max(**axes),
)
NORMS = _along(
    "norm",
    THREE,
    lambda nd, x, **axes: nd.norm(x, **axes),
    lambda torch, x, **axes: torch.linalg.vector_norm(x, **axes),
    lambda x, **axes: x.square().sum(**axes).sqrt(),
)
POSITIONS = _named("argmax", ("inner axis", "leading axis"))

ORDERED = {
    "cumsum inner axis": Op(
        "cumulative sums of 2048 rows of 2048",
        [normal(2048, 2048)],
        mxnet=lambda nd, x: nd.cumsum(x, axis=1),
        torch=lambda torch, x: torch.cumsum(x, 1),
    ),
    "sort rows": Op(
        "256 rows of 4096, sorted",
        [normal(256, 4096)],
        mxnet=lambda nd, x: nd.sort(x, axis=1),
        torch=lambda torch, x: torch.sort(x, 1)[0],
    ),
    "topk 10": Op(
        "the 10 largest of each of 256 rows of 4096",
        [normal(256, 4096)],
        mxnet=lambda nd, x: nd.topk(x, axis=1, k=10, ret_typ="value"),
        torch=lambda torch, x: torch.topk(x, 10, 1)[0],
    ),
}

OPS = {
    **with_gradients(_named("sum", tuple(AXES))),
    **with_gradients(_named("mean", ("all axes", "of channels"))),
    **with_gradients(EXTREMA),
    **with_gradients(NORMS),
    **POSITIONS,
    **ORDERED,
}
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)
