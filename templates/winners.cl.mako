## The inverse of places along an axis: y[a, places[a, t, c], c] = t, the largest t where several agree.
##
## Layout: places is (outer, taken, inner), y is (outer, n, inner); C order. y holds -1 before.
## Real places are truncated; what lies outside of 0 to n - 1, NaN included, is left out.
## Both shapes: one place at a time, in a grid-stride loop. The largest of whole numbers does not depend on
##   the order in which they arrive, so the atomic operation gives the same result in every run.
<%namespace name="common" file="common.mako"/>\
<%
compute = expr.dtypes.compute_type(dtype)
C = expr.dtypes.c_type(compute)
%>\
${common.prologue(signature, [])}
__kernel void ${name}(
    ${signature})
{
  places += places_offset;
  y += y_offset;
  for (index_t position = get_global_id(0); position < outer * taken * inner; position += get_global_size(0)) {
    const index_t row = position / inner, c = position - row * inner;
    const index_t a = row / taken, t = row - a * taken;
    const ${C} place = ${expr.load(dtype, "places", "position")};
% if compute.kind == "f":
    if (!(place > -1 && place < (${C})n)) continue;
% else:
    if ((long)place < 0 || (long)place >= (long)n) continue;
% endif
    atomic_max((volatile __global int *)y + ((a * n + (index_t)place) * inner + c), (int)t);
  }
}
