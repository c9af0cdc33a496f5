"""Pooling over regions of images: ROIPooling and ROIAlign.

Both are linear in the image, given the regions (and the places of the maxima); each op and its transpose
are closed under differentiation. Regions have no gradient, as in MXNet.
"""

from clgrad import dtypes
from clgrad.errors import argument_error
from clgrad.kernels import roi
from clgrad.kernels.roi import RoiGeometry
from clgrad.ops.arguments import sizes
from clgrad.registry import Call, Spec, composite, operator


@operator(name="_roi_align", label="ROIAlign")
def _roi_align(call: Call, data: Spec, rois: Spec, *, geometry: RoiGeometry):
    """Averages of the samples of each bin."""
    return roi.plan_align(call.device, call.kernel(data.dtype), geometry, data.dtype)


@operator(name="_roi_align_grad", label="ROIAlign")
def _roi_align_grad(call: Call, grad: Spec, rois: Spec, *, geometry: RoiGeometry):
    """At each element the sum of its shares in the averages."""
    return roi.plan_align_grad(call.device, call.kernel(grad.dtype, "grad_data"), geometry, grad.dtype)


_roi_align.gradient(data=lambda dy, rois, geometry: _roi_align_grad(dy, rois, geometry=geometry))
_roi_align_grad.gradient(grad=lambda dy, rois, geometry: _roi_align(dy, rois, geometry=geometry))


@operator(name="_roi_max", label="ROIPooling", outputs=("y", "places"))
def _roi_max(call: Call, data: Spec, rois: Spec, *, geometry: RoiGeometry):
    """The largest element of each bin, and its place."""
    return roi.plan_max(call.device, call.kernel(data.dtype), geometry, data.dtype)


@operator(name="_roi_max_scatter", label="ROIPooling")
def _roi_max_scatter(call: Call, grad: Spec, rois: Spec, places: Spec, *, geometry: RoiGeometry):
    """At each element the sum of dy over the bins whose maximum it was."""
    return roi.plan_max_scatter(call.device, call.kernel(grad.dtype, "grad_data"), geometry, grad.dtype)


@operator(name="_roi_max_gather", label="ROIPooling")
def _roi_max_gather(call: Call, data: Spec, rois: Spec, places: Spec, *, geometry: RoiGeometry):
    """The elements at the places of the maxima."""
    return roi.plan_max_gather(call.device, call.kernel(data.dtype, "gather"), geometry, data.dtype)


_roi_max.gradient(
    data=lambda d_y, rois, places, geometry: _roi_max_scatter(d_y, rois, places, geometry=geometry)
)
_roi_max_scatter.gradient(
    grad=lambda dy, rois, places, geometry: _roi_max_gather(dy, rois, places, geometry=geometry)
)
_roi_max_gather.gradient(
    data=lambda dy, rois, places, geometry: _roi_max_scatter(dy, rois, places, geometry=geometry)
)


@composite()
def ROIPooling(data, rois, pooled_size, spatial_scale):
    """The largest element of each bin of regions of images (batch, channel, height, width).

    A region, in elements its coordinates times ``spatial_scale`` (from 0 to 1), rounded, ends included, is
    shared out into ``pooled_size`` bins (height, width) that overlap where the sizes do not divide. An
    empty bin gives 0, and so does a region whose image does not exist. The gradient of a maximum goes to
    the first of equal elements; regions have none.

    Source: R. Girshick: Fast R-CNN, 2015, section 2.1.
    """
    op = "ROIPooling"
    if not 0 <= spatial_scale <= 1:
        raise argument_error(op, "spatial_scale", spatial_scale, "0 to 1")
    y, _ = _roi_max(data, rois, geometry=_geometry(op, data, rois, pooled_size, spatial_scale))
    return y


@composite(name="contrib.ROIAlign")
def _aligned(
    data, rois, pooled_size, spatial_scale, sample_ratio=-1, position_sensitive=False, aligned=False
):
    """Averages of bilinear samples over the bins of regions of images (batch, channel, height, width).

    A region, in elements its coordinates times ``spatial_scale``, is cut into ``pooled_size`` bins (height,
    width), each with ``sample_ratio`` samples along each axis, evenly spaced; as many as the bin has
    elements, rounded up, where that is not above 0. ``position_sensitive``: data has height times width as
    many channels as the result, and each bin reads its own. ``aligned``: an element's centre is at a half,
    not at a whole number, and a region may be smaller than an element; one without extent gives 0. A region
    whose image does not exist gives 0. Regions have no gradient.

    Source: K. He et al.: Mask R-CNN, 2017, section 3.
    """
    op = "ROIAlign"
    geometry = _geometry(
        op,
        data,
        rois,
        pooled_size,
        spatial_scale,
        ratio=int(sample_ratio),
        by_position=bool(position_sensitive),
        aligned=bool(aligned),
    )
    bins = geometry.pooled[0] * geometry.pooled[1]
    if position_sensitive and geometry.channels % bins:
        accepted = f"a multiple of {bins} channels where position_sensitive"
        raise argument_error(op, "data", f"of shape {data.shape}", accepted)
    return _roi_align(data, rois, geometry=geometry)


def _geometry(op: str, data, rois, pooled_size, spatial_scale, **more) -> RoiGeometry:
    dtype = data._view.dtype
    if data.ndim != 4 or 0 in data.shape[2:] or not dtypes.is_floating(dtype):
        accepted = "real numbers (batch, channel, height, width), images not empty"
        raise argument_error(op, "data", f"{dtype} {data.shape}", accepted)
    if rois.ndim != 2 or rois.shape[1] != 5 or rois.dtype != data.dtype:
        raise argument_error(op, "rois", f"{rois._view.dtype} {rois.shape}", f"{dtype} (regions, 5)")
    pooled = sizes(op, "pooled_size", pooled_size, 2)
    if len(pooled) != 2 or min(pooled) < 1:
        raise argument_error(op, "pooled_size", pooled_size, "two numbers of 1 or more")
    batch, channels, *size = data.shape
    regions, scale = rois.shape[0], float(spatial_scale)
    return RoiGeometry(batch, channels, tuple(size), regions, pooled, scale, **more)
