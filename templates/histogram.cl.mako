## Histogram: parts[part, b] = how many x of this part lie in bin b, edges[b] <= x < edges[b + 1]; the last bin
##   holds x == edges[bins] as well. What lies in no bin, NaN included, is not counted.
##
## Layout: data is a vector of `size` elements, edges one of bins + 1 in ascending order, parts is
##   (parts, bins) in int; a sum over parts follows.
## CPU shape: a part for each work-item, which takes a contiguous range of data. GPU shape: a part for each
##   work-group, counted by atomic additions of whole numbers, so that every run gives the same.
## Bins are found by bisection. Assumes: full work-groups.
## Tunables: the number of parts (clgrad/kernels/histogram.py).
<%namespace name="common" file="common.mako"/>\
<%
compute = expr.dtypes.compute_type(edges)
C = expr.dtypes.c_type(compute)
x = expr.convert(expr.load(dtype, "data", "position"), expr.dtypes.compute_type(dtype), compute)
%>\
${common.prologue(signature, [])}
__kernel void ${name}(
    ${signature})
{
  data += data_offset;
  edges += edges_offset;
  __global int *own = parts + parts_offset + (index_t)${"get_group_id(0)" if gpu else "get_global_id(0)"} * bins;
% if gpu:
  for (index_t bin = get_local_id(0); bin < bins; bin += get_local_size(0)) own[bin] = 0;
  barrier(CLK_GLOBAL_MEM_FENCE);
  for (index_t position = get_global_id(0); position < size; position += get_global_size(0)) {
% else:
  for (index_t bin = 0; bin < bins; ++bin) own[bin] = 0;
  const index_t share = (size + get_global_size(0) - 1) / get_global_size(0);
  const index_t first = min(size, (index_t)get_global_id(0) * share);
  for (index_t position = first; position < min(size, first + share); ++position) {
% endif
    const ${C} x = ${x};
    // The number of edges that are not above x.
    index_t low = 0, high = bins + 1;
    while (low < high) {
      const index_t middle = (low + high) / 2;
      const ${C} edge = ${expr.load(edges, "edges", "middle")};
      if (edge <= x) low = middle + 1;
      else high = middle;
    }
    const ${C} last = ${expr.load(edges, "edges", "bins")};
    if (low == bins + 1 && x == last) low = bins;
    if (low < 1 || low > bins) continue;
% if gpu:
    atomic_inc((volatile __global int *)own + (low - 1));
% else:
    ++own[low - 1];
% endif
  }
}
