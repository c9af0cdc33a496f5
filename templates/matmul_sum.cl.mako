## Second half of a matrix product that was split along k: C = sum over s of partial[batch][s] (+ bias).
##
## partial is row-major [batch][splits][m][n] in the compute type. One work-item an element, in a fixed
## order, so results do not depend on scheduling. Range: at least (batch * m * n).
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
${common.prologue(signature, helpers)}
__kernel void ${name}(
    ${signature})
{
  const index_t at = get_global_id(0);
  const index_t area = m * n;
  if (at >= area * batch_size) return;
  const index_t batch = at / area, element = at % area;
  const index_t i = element / n, j = element % n;
  partial += partial_offset + batch * splits * area + element;
  ${T} value = 0;
  for (index_t s = 0; s < splits; ++s) value += partial[s * area];
% if bias:
  bias += bias_offset + batch * bias_batch;
% endif
  const index_t to = ${c.batch.offset("c_batch", "batch")} + ${c.row.offset("c_row", "i")} + ${c.column.offset("c_column", "j")};
${operands.result_begin()}\
  c += c_offset + c_base;
${operands.store_result("value", "i", "j", "to")}\
}
