## A sparse matrix along each of the last axes:
##
##     y[o, i0, i1, ...] = sum over j0 of w0[j0] * (sum over j1 of w1[j1] * (... x[o, at0[j0], at1[j1], ...]))
##
## with j over first[i] <= j < first[i + 1] along each axis (compressed sparse rows); w is 1 where an axis is
## not weighted.
##
## Layout: x is (outer, from0, from1, ...), y is (outer, to0, to1, ...), C order.
## CPU shape: each work-item takes one contiguous range of y and loops over it, row by row.
## GPU shape: one work-item for each element, neighbours on neighbours, in a grid-stride loop.
## Assumes: entries of `at` lie within the axis.
## Tunables: the number of work-items (clgrad/kernels/separable.py).
<%namespace name="common" file="common.mako"/>\
<%
cpu = k.device.kind == "cpu"
rank = len(k.maps)
last = rank - 1
compute = expr.dtypes.compute_type(k.dtype)
T = expr.dtypes.c_type(compute)
arrays = ["x", "y"]
for d in range(rank):
    arrays += [f"first{d}", f"at{d}"] + ([f"w{d}"] if k.weighted[d] else [])
%>\
## The sum over axis d, `line` being where the axes before it have led to.
<%def name="sum(d, line)">\
<% pad = "  " * (d + 2) %>\
${pad}${T} sum${d} = 0;
${pad}for (int j${d} = first${d}[i${d}]; j${d} < first${d}[i${d} + 1]; ++j${d}) {
% if d < rank - 1:
${pad}  const index_t line${d + 1} = (${line} + at${d}[j${d}]) * from${d + 1};
${sum(d + 1, f"line{d + 1}")}\
<% term = f"sum{d + 1}" %>\
% else:
<% term = expr.load(k.dtype, "x", f"{line} + at{d}[j{d}]") %>\
% endif
${pad}  sum${d} += ${f"w{d}[j{d}] * {term}" if k.weighted[d] else term};
${pad}}
</%def>\
${common.prologue(k.signature, [])}
__kernel void ${k.name}(
    ${k.signature})
{
% for array in arrays:
  ${array} += ${array}_offset;
% endfor
% if cpu:
  const index_t share = (elements + get_global_size(0) - 1) / get_global_size(0);
  index_t element = get_global_id(0) * share;
  const index_t end = min(elements, element + share);
  while (element < end) {
    index_t rest = element / to${last};
    index_t i${last} = element - rest * to${last};
    const index_t stop = min(to${last}, i${last} + (end - element));
% else:
  for (index_t element = get_global_id(0); element < elements; element += get_global_size(0)) {
    index_t rest = element / to${last};
    const index_t i${last} = element - rest * to${last};
% endif
% for d in reversed(range(last)):
    const index_t i${d} = rest % to${d};
    rest /= to${d};
% endfor
    const index_t line0 = rest * from0;
% if cpu:
    for (; i${last} < stop; ++i${last}, ++element) {
${sum(0, "line0")}\
      ${expr.store(k.dtype, "sum0", compute, "y", "element")}
    }
% else:
${sum(0, "line0")}\
    ${expr.store(k.dtype, "sum0", compute, "y", "element")}
% endif
  }
}
