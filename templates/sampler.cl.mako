## Bilinear sampling of images at the places of a grid, and its derivatives. By MODE:
##
##     sample  y[n, c, p] = sum over the four elements around place p of wx * wy * x[n, c, element]
##     spread  y[n, c, element] = sum over the places p around it of wx * wy * x[n, c, p], in the order of p
##     grid    y[n, 0, p], y[n, 1, p] = sum over c of dy[n, c, p] * dsample/dx, dsample/dy
##
## wx is 1 minus the distance along x, in elements; differentiated once (ORDER) its slope, -1 or 1 times
## (width - 1) / 2, since the grid is in units of half the image. wy likewise.
##
## Layout: images (batch, channels, height, width), samples (batch, channels, places), grid (batch, 2, places):
##   x, then y. Elements outside the image count as 0. A place that is NaN or infinite gives NaN, and nothing
##   to a spread.
## sample, grid: a work-item has one place of one image and a block of the channels; neighbours have
##   neighbouring places.
## spread: a work-item owns a block of rows of one channel of one image; it clears them and reads all places
##   in order ("owner computes"): no atomics, and the same sums in every run. For float16 the sums are kept in
##   `total`, in float.
## CPU shape: each work-item takes one contiguous range of items. GPU shape: a grid-stride loop.
## Tunables: the number of blocks (clgrad/kernels/sampler.py).
<%namespace name="common" file="common.mako"/>\
<%
cpu = k.device.kind == "cpu"
mode = k.mode
T = expr.dtypes.c_type(k.compute)
total, total_dtype = ("total", k.compute) if k.totals else ("y", k.dtype)
load = lambda array, position: expr.load(k.dtype, array, position)
half = expr.c_literal(0.5, k.compute)

def weights(axis, extent, order):
    """C expressions of the weights of the lower and the upper element along an axis."""
    if order:
        slope = f"{half} * ({T})({extent} - 1)"
        return f"-{slope}", slope
    return f"1 - f{axis}", f"f{axis}"
%>\
${common.prologue(k.signature, [])}
## Places of the four elements and whether they are in the image: column0, column1, row0, row1, each an index
## or -1; and the distances fx, fy to the lower ones.
<%def name="locate()">\
      const ${T} gx = (${load("grid", "(2 * n) * places + p")} + 1) * (${T})(width - 1) * ${half};
      const ${T} gy = (${load("grid", "(2 * n + 1) * places + p")} + 1) * (${T})(height - 1) * ${half};
      const ${T} lowx = floor(gx), lowy = floor(gy);
      const ${T} fx = gx - lowx, fy = gy - lowy;
      const int column0 = lowx >= 0 && lowx <= (${T})(width - 1) ? (int)lowx : -1;
      const int column1 = lowx >= -1 && lowx < (${T})(width - 1) ? (int)lowx + 1 : -1;
      const int row0 = lowy >= 0 && lowy <= (${T})(height - 1) ? (int)lowy : -1;
      const int row1 = lowy >= -1 && lowy < (${T})(height - 1) ? (int)lowy + 1 : -1;
</%def>\
<%def name="corners()">\
        const index_t image = (n * channels + c) * height * width;
% for j in range(2):
% for i in range(2):
        const ${T} v${j}${i} = row${j} >= 0 && column${i} >= 0 ? ${load("x", f"image + (index_t)row{j} * width + column{i}")} : 0;
% endfor
% endfor
</%def>\
<%def name="sampled(order)" filter="trim">
<% (x0, x1), (y0, y1) = weights("x", "width", order[0]), weights("y", "height", order[1]) %>
(${y0}) * ((${x0}) * v00 + (${x1}) * v01) + (${y1}) * ((${x0}) * v10 + (${x1}) * v11)
</%def>\
__kernel void ${k.name}(
    ${k.signature})
{
% for array in k.arrays:
  ${array} += ${array}_offset;
% endfor
% if cpu:
  const index_t share = (items + get_global_size(0) - 1) / get_global_size(0);
  const index_t begin = get_global_id(0) * share, end = min(items, begin + share);
  for (index_t item = begin; item < end; ++item) {
% else:
  for (index_t item = get_global_id(0); item < items; item += get_global_size(0)) {
% endif
% if mode == "spread":
    const index_t plane = item / blocks, n = plane / channels;
    const index_t rows_each = (height + blocks - 1) / blocks;
    const index_t first_row = min(height, (item - plane * blocks) * rows_each);
    const index_t last_row = min(height, first_row + rows_each);
    const index_t image = plane * height * width;
    for (index_t e = first_row * width; e < last_row * width; ++e) {
      ${expr.store(total_dtype, "0", k.compute, total, "image + e")}
    }
    for (index_t p = 0; p < places; ++p) {
${locate()}\
      const bool first = row0 >= first_row && row0 < last_row, second = row1 >= first_row && row1 < last_row;
      if (!(first || second)) continue;
      if (!(column0 >= 0 || column1 >= 0)) continue;
      const ${T} value = ${load("x", "plane * places + p")};
<% (x0, x1), (y0, y1) = weights("x", "width", k.geometry.order[0]), weights("y", "height", k.geometry.order[1]) %>\
% for j, (there, wy) in enumerate((("first", y0), ("second", y1))):
% for i, wx in enumerate((x0, x1)):
      if (${there} && column${i} >= 0) {
        const index_t at = image + (index_t)row${j} * width + column${i};
        const ${T} sum = ${expr.load(total_dtype, total, "at")} + (${wy}) * (${wx}) * value;
        ${expr.store(total_dtype, "sum", k.compute, total, "at")}
      }
% endfor
% endfor
    }
% if k.totals:
    for (index_t e = first_row * width; e < last_row * width; ++e) {
      ${expr.store(k.dtype, "total[image + e]", k.compute, "y", "image + e")}
    }
% endif
% else:
    const index_t p = item % places, block = item / places % blocks, n = item / places / blocks;
    const index_t channels_each = (channels + blocks - 1) / blocks;
    const index_t first = min(channels, block * channels_each);
    const index_t last = min(channels, first + channels_each);
    {
${locate()}\
% if mode == "grid":
      ${T} sumx = 0, sumy = 0;
% endif
      for (index_t c = first; c < last; ++c) {
${corners()}\
% if mode == "grid":
        const ${T} value = ${load("dy", "(n * channels + c) * places + p")};
        sumx += value * (${sampled((1, 0))});
        sumy += value * (${sampled((0, 1))});
% else:
        const ${T} sum = ${sampled(k.geometry.order)};
        ${expr.store(k.dtype, "sum", k.compute, "y", "(n * channels + c) * places + p")}
% endif
      }
% if mode == "grid":
      ${expr.store(k.dtype, "sumx", k.compute, "y", "(2 * n) * places + p")}
      ${expr.store(k.dtype, "sumy", k.compute, "y", "(2 * n + 1) * places + p")}
% endif
    }
% endif
  }
}
