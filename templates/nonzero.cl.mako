## The places of a mask's true elements, in order, in two launches: KERNEL is one of
##
##     count   counts[k] = how many elements of chunk k are true
##     fill    places[i] = STRIDE * place of the i-th true element
##
## Layout: mask is SIZE bytes, cut into CHUNKS of equal size, for one work-item each.
## fill: a work-item first adds up the counts of the chunks before its own; these are few.
## Tunables: chunks (clgrad/kernels/positions.py).
<%namespace name="common" file="common.mako"/>\
${common.prologue(signature, [])}
__kernel void ${name}(
    ${signature})
{
  mask += mask_offset;
  counts += counts_offset;
% if kernel == "fill":
  places += places_offset;
% endif
  const index_t each = (size + chunks - 1) / chunks;
  for (index_t k = get_global_id(0); k < chunks; k += get_global_size(0)) {
    const index_t first = min(size, k * each), last = min(size, first + each);
    index_t found = 0;
% if kernel == "count":
    for (index_t i = first; i < last; ++i) found += mask[i] != 0;
    counts[k] = (int)found;
% else:
    for (index_t before = 0; before < k; ++before) found += counts[before];
    for (index_t i = first; i < last; ++i)
      if (mask[i] != 0) places[found++] = i * stride;
% endif
  }
}
