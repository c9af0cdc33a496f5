## Classes drawn with the probabilities in rows of x, which need not sum to 1.
##
##     sums     total of each chunk of CHUNK classes of a row, negative numbers and NaN left out
##     draw     a class for each element: the first whose cumulative sum exceeds u times the row's total,
##              found by walking over chunks, then over the classes of one
##
## Layout: x is rows x classes, sums is rows x chunks; element e belongs to row e / samples. A chunk is about
##   as long as there are chunks, so a draw reads about 2 sqrt(classes) numbers.
## u comes from the element's own Philox block, and sums are added in order, so every device draws the same.
##   fmax leaves out what is not above 0, and keeps Intel's CPU runtime (2026.2) from adding in another order,
##   which it does where it vectorises a plain sum.
## CPU shape: a work-item takes one contiguous range of places. GPU shape: a grid-stride loop.
<%namespace name="common" file="common.mako"/>\
<%namespace name="random" file="philox.mako"/>\
<%
compute = expr.dtypes.compute_type(probabilities)
T = expr.dtypes.c_type(compute)
lit = lambda value: expr.c_literal(value, compute)
load = lambda position: expr.load(probabilities, "x", position)
count = "rows * chunks" if method == "sums" else "elements"
store = expr.store(storage, "chosen", expr.dtypes.int64, "y", "place") if method == "draw" else ""
%>\
${common.prologue(signature, [])}
#pragma OPENCL FP_CONTRACT OFF

% if method == "draw":
${random.words_of_element()}
% endif
__kernel void ${name}(
    ${signature})
{
  x += x_offset;
  sums += sums_offset;
% if method == "draw":
  y += y_offset;
% endif
% if shape == "cpu":
  const index_t share = (${count} + get_global_size(0) - 1) / get_global_size(0);
  const index_t first = get_global_id(0) * share;
  for (index_t place = first; place < min(${count}, first + share); ++place) {
% else:
  for (index_t place = get_global_id(0); place < ${count}; place += get_global_size(0)) {
% endif
% if method == "sums":
    const index_t row = place / chunks, begin = (place - row * chunks) * chunk;
    const index_t end = min(classes, begin + chunk);
    ${T} sum = 0;
    for (index_t i = begin; i < end; ++i) {
      sum = fmax(sum, sum + ${load("row * classes + i")});
    }
    sums[place] = sum;
% else:
    const index_t row = place / samples;
    ${T} total = 0;
    for (index_t c = 0; c < chunks; ++c)
      total = fmax(total, total + sums[row * chunks + c]);
    const uint4 w = words_of(place, 0, seed, call);
% if compute == expr.dtypes.float64:
    const ${T} target = (double)((ulong)w.x << 21 | w.y >> 11) * ${lit(2.0**-53)} * total;
% else:
    const ${T} target = (float)(w.x >> 8) * ${lit(2.0**-24)} * total;
% endif
    ${T} before = 0;
    index_t found = 0;  // the last chunk that holds something, where rounding leads past the end
    ${T} start = 0;
    for (index_t c = 0; c < chunks; ++c) {
      const ${T} sum = sums[row * chunks + c];
      if (sum > 0) {
        found = c;
        start = before;
        if (target < before + sum) break;
      }
      before = fmax(before, before + sum);
    }
    long chosen = 0;
    ${T} cumulative = start;
    const index_t end = min(classes, (found + 1) * chunk);
    for (index_t i = found * chunk; i < end; ++i) {
      const ${T} p = ${load("row * classes + i")};
      if (p > 0) {
        chosen = i;
        cumulative = fmax(cumulative, cumulative + p);
        if (target < cumulative) break;
      }
    }
    ${store}
% endif
  }
}
