## Packs A for the CPU's matrix product: panels of `rows` rows, zero-padded, column by column:
##   packed[batch][panel][k][row], what the micro-kernel reads in one sequential stream.
##   (K. Goto, R. van de Geijn: Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008.)
##
## Each work-item packs `depth` columns of `span` panels: few columns of many rows, because what it reads
##   then stays in the cache, whichever index is contiguous.
## Range: (ceil(panels / span), ceil(k / depth), batch).
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
${common.prologue(signature, ())}
__kernel void ${name}(
    ${signature})
{
  const index_t panels = (m + ${rows - 1}) / ${rows};
  const index_t first = get_global_id(0) * span;
  const index_t last = min(panels, first + span);
  const index_t k0 = get_global_id(1) * depth;
  const index_t k1 = min(k, k0 + depth);
  const index_t batch = get_global_id(2);
  a += a_offset + a_base + ${a.batch.offset("a_batch", "batch")};
  packed += packed_offset + batch * panels * k * ${rows};
  for (index_t panel = first; panel < last; ++panel) {
    __global ${T} *restrict to = packed + (panel * k + k0) * ${rows};
% for i in range(rows):
    const index_t row${i} = ${a.row.offset("a_row", f"min(panel * {rows} + {i}, m - 1)")};
% endfor
    ${operands.axis_begin(a.column, "a_column", "k0")}
    for (index_t q = k0; q < k1; ++q, to += ${rows}) {
% for i in range(rows):
      to[${i}] = ${expr.load(storage, "a", f"row{i} + a_column_at")};
% endfor
      ${operands.axis_advance(a.column, "a_column")}
    }
  }
}
