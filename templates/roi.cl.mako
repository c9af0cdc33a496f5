## Pooling over regions of images, and its derivatives. By MODE, for each element of y:
##
##     align       y[r, c, i, j] = average over the samples of bin (i, j) of region r, interpolated bilinearly
##     align_grad  y[b, c, h, w] = sum over regions and their samples of the element's share in x[r, c, i, j]
##     max         y[r, c, i, j] = largest element of the bin (NaN is the largest), index = where: the first
##     gather      y[r, c, i, j] = x[image of r, c, index]
##     scatter     y[b, c, h, w] = sum of x over the bins whose index is the element
##
## Layout: images (batch, channels, height, width), results (regions, out_channels, *pooled), rois (regions, 5):
##   number of the image, x1, y1, x2, y2.
## Derivatives need no atomics. On a GPU they gather: each element reads the regions in order. On a CPU an
##   owner has one channel of one image (OWNED), clears it, and adds what the regions give, in order; for
##   float16 the sums are kept in `total`, in float.
## A region's number that names no image gives 0, and no gradient. Coordinates are limited before they become
##   whole numbers, so nonsense in rois costs no more than a region of the whole image.
## align: bin i of a region from `start` on, `bin` long, has `samples` samples at start + i * bin +
##   (s + 1/2) * bin / samples. A sample beyond -1 or the image's size is 0; others are held in the image.
##   (K. He et al.: Mask R-CNN, 2017, section 3.) max: R. Girshick: Fast R-CNN, 2015, section 2.1.
## CPU shape: each work-item takes one contiguous range of y (of its channels, if owned). GPU shape: a
##   grid-stride loop.
## Assumes: `index` holds what mode max gave for the same regions.
## Tunables: the number of work-items (clgrad/kernels/roi.py).
<%namespace name="common" file="common.mako"/>\
<%
cpu = device.kind == "cpu"
compute = expr.dtypes.compute_type(dtype)
T = expr.dtypes.c_type(compute)
lit = lambda value: expr.c_literal(value, compute)
PH, PW = g.pooled
backward = mode in ("align_grad", "scatter")
align = mode.startswith("align")
total, total_dtype = ("total", compute) if totals else ("y", dtype)
axes = (("y", "height", PH, 2), ("x", "width", PW, 1))
roi = lambda position: expr.load(dtype, "rois", f"r * 5 + {position}")
#: Largest coordinate that regions are believed to have: far beyond any image, and an int.
FAR = lit(1e9)
%>\
${common.prologue(signature, [])}
// A number that is no coordinate becomes 0, one far outside less far.
inline ${T} held(const ${T} x) { return fmin(fmax(x, -${FAR}), ${FAR}); }
% if align:
// One axis of a region: where it starts, the size of a bin, and the samples of a bin (0: there are none).
typedef struct { ${T} start, bin; int samples; } Side;

inline Side side(const ${T} low, const ${T} high, const int bins) {
  Side s;
  s.start = held(low * ${lit(g.scale)}${f" - {lit(0.5)}" if g.aligned else ""});
  ${T} size = held(high * ${lit(g.scale)}${f" - {lit(0.5)}" if g.aligned else ""}) - s.start;
% if not g.aligned:
  size = fmax(size, ${lit(1)});
% endif
  s.bin = size / (${T})bins;
  s.samples = size > 0 ? ${int(g.ratio) if g.ratio > 0 else "(int)ceil(s.bin)"} : 0;
  return s;
}

// The place of sample t, counted over all bins.
inline ${T} place(const Side s, const long t) {
  const long bin = t / s.samples;
  return s.start + (${T})bin * s.bin + ((${T})(t - bin * s.samples) + ${lit(0.5)}) * s.bin / (${T})s.samples;
}

// The samples from first to last (excluded), of those given, that can lie between low and high.
inline void between(const Side s, const ${T} low, const ${T} high, long *first, long *last) {
  const ${T} step = s.bin / (${T})s.samples;
  const ${T} from = fmin(fmax(floor((low - s.start) / step) - 1, (${T})*first), (${T})*last);
  const ${T} to = fmin(fmax(ceil((high - s.start) / step) + 1, (${T})*first), (${T})*last);
  *first = max(*first, (long)from);
  *last = min(*last, (long)to);
}

// The element below a place within the image, and the place's distance from it; the one above is next to it,
// or itself at the end.
inline int element(const ${T} place, const index_t size, ${T} *share) {
  const int low = min((int)fmax(place, 0), (int)size - 1);
  *share = low < size - 1 ? fmax(place, 0) - (${T})low : 0;
  return low;
}

// Weight of an element of the axis in a sample.
inline ${T} weight(const Side s, const long t, const index_t at, const index_t size) {
  const ${T} v = place(s, t);
  if (!(v >= -1 && v <= (${T})size)) return 0;
  ${T} share;
  const int low = element(v, size, &share);
  return at == low ? 1 - share : at == low + 1 ? share : 0;
}
% else:
// One axis of a region in elements: its first one, and the size of a bin.
typedef struct { int start; ${T} bin; } Side;

inline Side side(const ${T} low, const ${T} high, const int bins) {
  Side s;
  s.start = (int)held(round(low * ${lit(g.scale)}));
  const int end = (int)held(round(high * ${lit(g.scale)}));
  s.bin = (${T})max(end - s.start + 1, 1) / (${T})bins;
  return s;
}

// The elements from first to last (excluded) of a bin.
inline void bin_of(const Side s, const int bin, const index_t size, index_t *first, index_t *last) {
  const long low = (long)floor((${T})bin * s.bin) + s.start, high = (long)ceil((${T})(bin + 1) * s.bin) + s.start;
  *first = (index_t)clamp(low, 0L, (long)size);
  *last = (index_t)clamp(high, 0L, (long)size);
}
% endif

## Number of the region's image, -1 if there is none; and the two sides.
<%def name="region()">\
      const ${T} number = ${roi(0)};
      const index_t image = number >= 0 && number < (${T})batch ? (index_t)number : -1;
</%def>\
<%def name="sides()">\
% for axis, _, bins, at in axes:
      const Side side${axis} = side(${roi(at)}, ${roi(at + 2)}, ${bins});
% endfor
</%def>\
## The samples of bin (i, j) that can lie in the image.
<%def name="bin_samples()">\
% for axis, size, _, _ in axes:
<% bin = "i" if axis == "y" else "j" %>\
      long first${axis} = (long)${bin} * side${axis}.samples, last${axis} = first${axis} + side${axis}.samples;
      if (side${axis}.samples > 0) between(side${axis}, -1, (${T})${size}, &first${axis}, &last${axis});
% endfor
</%def>\
<%def name="add(at, value)">\
        { const index_t at = ${at}; const ${T} grown = ${expr.load(total_dtype, total, "at")} + (${value}); ${expr.store(total_dtype, "grown", compute, total, "at")} }
</%def>\
## What bin (i, j) of region r gives to the owner's channel, which begins at `base`.
<%def name="give()">\
% if mode == "scatter":
      const index_t from = ((r * channels + channel) * ${PH} + i) * ${PW} + j;
      if (index[from] < 0) continue;
${add("base + index[from]", expr.load(dtype, "x", "from"))}\
% else:
      if (sidey.samples <= 0 || sidex.samples <= 0) continue;
      const ${T} value = ${expr.load(dtype, "x", f"((r * out_channels + c) * {PH} + i) * {PW} + j")}
          / ((${T})sidey.samples * (${T})sidex.samples);
${bin_samples()}\
      for (long ty = firsty; ty < lasty; ++ty) {
        const ${T} vy = place(sidey, ty);
        if (!(vy >= -1 && vy <= (${T})height)) continue;
        ${T} fy;
        const int row = element(vy, height, &fy);
        const index_t line0 = base + row * width, line1 = line0 + (row < height - 1 ? width : 0);
        for (long tx = firstx; tx < lastx; ++tx) {
          const ${T} vx = place(sidex, tx);
          if (!(vx >= -1 && vx <= (${T})width)) continue;
          ${T} fx;
          const index_t column0 = element(vx, width, &fx), column1 = column0 + (column0 < width - 1);
${add("line0 + column0", "(1 - fy) * (1 - fx) * value")}\
${add("line0 + column1", "(1 - fy) * fx * value")}\
${add("line1 + column0", "fy * (1 - fx) * value")}\
${add("line1 + column1", "fy * fx * value")}\
        }
      }
% endif
</%def>\
__kernel void ${name}(
    ${signature})
{
% for array in arrays:
  ${array} += ${array}_offset;
% endfor
% if owned:
  const index_t planes = batch * channels;
  const index_t share = (planes + get_global_size(0) - 1) / get_global_size(0);
  const index_t begin = get_global_id(0) * share, end = min(planes, begin + share);
  for (index_t plane = begin; plane < end; ++plane) {
    const index_t channel = plane % channels, b = plane / channels, base = plane * height * width;
    for (index_t e = base; e < base + height * width; ++e) {
      ${expr.store(total_dtype, "0", compute, total, "e")}
    }
    for (index_t r = 0; r < regions; ++r) {
${region()}\
      if (image != b) continue;
% if mode == "align_grad":
${sides()}\
% endif
% if g.by_position:
      const index_t c = channel / ${PH * PW};
      const int i = channel % ${PH * PW} / ${PW}, j = channel % ${PW};
${give()}\
% else:
% if mode == "align_grad":
      const index_t c = channel;
% endif
      for (int i = 0; i < ${PH}; ++i) {
        for (int j = 0; j < ${PW}; ++j) {
${give()}\
        }
      }
% endif
    }
% if totals:
    for (index_t e = base; e < base + height * width; ++e) {
      ${expr.store(dtype, "total[e]", compute, "y", "e")}
    }
% endif
  }
% else:
% if cpu:
  const index_t share = (elements + get_global_size(0) - 1) / get_global_size(0);
  const index_t begin = get_global_id(0) * share, end = min(elements, begin + share);
  for (index_t e = begin; e < end; ++e) {
% else:
  for (index_t e = get_global_id(0); e < elements; e += get_global_size(0)) {
% endif
    ${T} sum = 0;
% if backward:
    const index_t w = e % width, h = e / width % height;
    const index_t channel = e / width / height % channels, b = e / width / height / channels;
    for (index_t r = 0; r < regions; ++r) {
${region()}\
      if (image != b) continue;
${sides()}\
% if mode == "align_grad":
% if g.by_position:
      const index_t c = channel / ${PH * PW};
      const int biny = channel % ${PH * PW} / ${PW}, binx = channel % ${PW};
% else:
      const index_t c = channel;
% endif
      if (sidey.samples <= 0 || sidex.samples <= 0) continue;
      const ${T} count = (${T})sidey.samples * (${T})sidex.samples;
% for axis, size, bins, _ in axes:
<% at = "h" if axis == "y" else "w" %>\
      long first${axis} = ${f"(long)bin{axis} * side{axis}.samples" if g.by_position else "0"};
      long last${axis} = ${f"first{axis} + side{axis}.samples" if g.by_position else f"(long){bins} * side{axis}.samples"};
      between(side${axis}, ${at} == 0 ? -1 : (${T})(${at} - 1), (${T})(${at} + 1), &first${axis}, &last${axis});
% endfor
      for (long ty = firsty; ty < lasty; ++ty) {
        const ${T} wy = weight(sidey, ty, h, height);
        if (wy == 0) continue;
        const index_t line = ((r * out_channels + c) * ${PH} + ty / sidey.samples) * ${PW};
        ${T} part = 0;
        for (long tx = firstx; tx < lastx; ++tx) {
          const ${T} wx = weight(sidex, tx, w, width);
          if (wx != 0) part += wx * ${expr.load(dtype, "x", "line + tx / sidex.samples")};
        }
        sum += wy * part / count;
      }
% else:
      if (h < sidey.start || w < sidex.start) continue;
      for (int i = 0; i < ${PH}; ++i) {
        index_t firsty, lasty;
        bin_of(sidey, i, height, &firsty, &lasty);
        if (h < firsty || h >= lasty) continue;
        for (int j = 0; j < ${PW}; ++j) {
          const index_t at = ((r * channels + channel) * ${PH} + i) * ${PW} + j;
          if (index[at] == h * width + w) sum += ${expr.load(dtype, "x", "at")};
        }
      }
% endif
    }
    ${expr.store(dtype, "sum", compute, "y", "e")}
% else:
    const int j = e % ${PW}, i = e / ${PW} % ${PH};
    const index_t c = e / ${PH * PW} % out_channels, r = e / ${PH * PW} / out_channels;
${region()}\
% if mode == "gather":
    const int at = index[e];
    if (image >= 0 && at >= 0) sum = ${expr.load(dtype, "x", "(image * channels + c) * height * width + at")};
    ${expr.store(dtype, "sum", compute, "y", "e")}
% elif mode == "align":
    if (image >= 0) {
${sides()}\
      const index_t channel = ${f"c * {PH * PW} + i * {PW} + j" if g.by_position else "c"};
      const index_t base = (image * channels + channel) * height * width;
${bin_samples()}\
      for (long ty = firsty; ty < lasty; ++ty) {
        const ${T} vy = place(sidey, ty);
        if (!(vy >= -1 && vy <= (${T})height)) continue;
        ${T} fy;
        const int row = element(vy, height, &fy);
        const index_t line0 = base + row * width, line1 = line0 + (row < height - 1 ? width : 0);
        for (long tx = firstx; tx < lastx; ++tx) {
          const ${T} vx = place(sidex, tx);
          if (!(vx >= -1 && vx <= (${T})width)) continue;
          ${T} fx;
          const index_t column0 = element(vx, width, &fx), column1 = column0 + (column0 < width - 1);
          sum += (1 - fy) * ((1 - fx) * ${expr.load(dtype, "x", "line0 + column0")} + fx * ${expr.load(dtype, "x", "line0 + column1")})
              + fy * ((1 - fx) * ${expr.load(dtype, "x", "line1 + column0")} + fx * ${expr.load(dtype, "x", "line1 + column1")});
        }
      }
      if (lasty > firsty && lastx > firstx) sum /= (${T})sidey.samples * (${T})sidex.samples;
    }
    ${expr.store(dtype, "sum", compute, "y", "e")}
% else:
    int where = -1;
    if (image >= 0) {
${sides()}\
      const index_t base = (image * channels + c) * height * width;
      index_t firsty, lasty, firstx, lastx;
      bin_of(sidey, i, height, &firsty, &lasty);
      bin_of(sidex, j, width, &firstx, &lastx);
      for (index_t h = firsty; h < lasty; ++h) {
        for (index_t w = firstx; w < lastx; ++w) {
          const ${T} value = ${expr.load(dtype, "x", "base + h * width + w")};
          if (where < 0 || value > sum || (value != value && sum == sum)) {
            sum = value;
            where = h * width + w;
          }
        }
      }
    }
    ${expr.store(dtype, "sum", compute, "y", "e")}
    index[e] = where;
% endif
% endif
  }
% endif
}
