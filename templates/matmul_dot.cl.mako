## Matrix product of a few rows, CPU shape, where A and B are contiguous along k: inner products.
##   C[batch, i, j] = sum_k A[batch, i, k] * B[batch, k, j] (+ bias)
##
## Every element of B is used `m` times only, so nothing is packed: vectors run along k in both operands,
##   and `columns` columns of B share the loads of A. The time is that of reading B once.
## Each work-item computes `share` columns. Range: (ceil(n / share), batch).
## Assumes: m is small (it is a constant here: m * columns vectors are summed in registers).
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
<% V, columns = lanes, 4 %>\
${common.prologue(signature, helpers)}
<%def name="sum_lanes(vector)" buffered="True" filter="trim">
<%
    parts = [f"{vector}.s{lane:x}" for lane in range(V)]
    while len(parts) > 1:
        parts = [f"({x} + {y})" for x, y in zip(parts[::2], parts[1::2])]
%>
${parts[0]}
</%def>
__kernel void ${name}(
    ${signature})
{
  const index_t batch = get_global_id(1);
  const index_t j1 = min(n, (index_t)(get_global_id(0) + 1) * share);
  a += a_offset + a_base + ${a.batch.offset("a_batch", "batch")};
  b += b_offset + b_base + ${b.batch.offset("b_batch", "batch")};
${operands.result_begin()}\
  c += c_offset + c_base + ${c.batch.offset("c_batch", "batch")};
% if bias:
  bias += bias_offset + batch * bias_batch;
% endif
  for (index_t j0 = get_global_id(0) * share; j0 < j1; j0 += ${columns}) {
% for x in range(columns):
    const index_t column${x} = min(j0 + ${x}, n - 1) * b_column_stride0;
% for i in range(m):
    ${T}${V} c${i}_${x} = (${T}${V})(0);
    ${T} rest${i}_${x} = 0;
% endfor
% endfor
    index_t q = 0;
    for (; q + ${V} <= k; q += ${V}) {
% for i in range(m):
      const ${T}${V} a${i} = ${expr.load(storage, "a", f"{a.row.offset('a_row', str(i))} + q", V)};
% endfor
% for x in range(columns):
      const ${T}${V} b${x} = ${expr.load(storage, "b", f"column{x} + q", V)};
% for i in range(m):
      c${i}_${x} = a${i} * b${x} + c${i}_${x};
% endfor
% endfor
    }
    for (; q < k; ++q) {
% for x in range(columns):
% for i in range(m):
      rest${i}_${x} += ${expr.load(storage, "a", f"{a.row.offset('a_row', str(i))} + q")} * ${expr.load(storage, "b", f"column{x} + q")};
% endfor
% endfor
    }
% for x in range(columns):
    if (j0 + ${x} < j1) {
      const index_t j = j0 + ${x};
% for i in range(m):
      {
        const index_t at = ${c.row.offset("c_row", str(i))} + ${c.column.offset("c_column", "j")};
        ${T} value = ${sum_lanes(f"c{i}_{x}")} + rest${i}_${x};
${operands.store_result("value", str(i), "j", "at")}\
      }
% endfor
    }
% endfor
  }
}
