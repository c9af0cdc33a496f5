## Rows by index. KERNEL is one of
##
##     take   y[a, j, c] = data[a, at(indices[j]), c]
##     grad   dx[a, i, c] = the sum over j with at(indices[j]) == i of dy[a, j, c], in the order of j
##
## Layout: data is (outer, n, inner), y is (outer, taken, inner), indices is (taken); C order. take copies
##   bits (an integer type of the elements' size); grad adds in the compute type.
## at(): truncation towards zero, then `clip` to the ends of the axis, or `wrap` modulo its size.
## take, both shapes: like an elementwise kernel over (outer * taken, inner), WIDTH columns at a time; a
##   CPU work-item takes a contiguous range, GPU work-items take neighbouring blocks in a grid-stride loop.
##   With STREAMS, vectors are stored past the caches; with ABREAST, rows are whole vectors, and J of them are
##   taken side by side: while one row's first lines are on their way, so are the others'.
##   On CPUs, rows of one element are taken J indices at a time from GROUP places a: the indices are made places
##   once for all of these, and each line is written by vectors.
## grad: each work-item owns a block of rows i and of columns c of one a. It clears them, then reads all
##   indices in order and adds the rows that fall into its block ("owner computes"): no atomics, and the same
##   sum in every run. A CPU owner has many columns, WIDTH at a time; a GPU owner has one column, and its
##   neighbours the columns beside it. For float16 the sums are kept in `total`, in float.
## Assumes: n > 0 where anything is taken.
## Tunables: WIDTH, GROUP, and the number of owners (clgrad/kernels/index.py).
<%namespace name="common" file="common.mako"/>\
<%
W, G = t.width, t.group
J = 4
cpu = t.device.kind == "cpu"
compute = expr.dtypes.compute_type(t.dtype)
real_index = expr.dtypes.is_floating(t.index_dtype)
I = expr.dtypes.c_type(expr.dtypes.compute_type(t.index_dtype))
total, total_dtype = ("total", t.accumulator) if t.accumulator else ("dx", t.dtype)
bits = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}[t.dtype.itemsize]
%>\
${common.prologue(t.signature, [])}
% if t.streams:
${common.streaming()}
% endif
// The row that an index stands for.
inline index_t at(const ${I} index, const index_t n) {
% if t.mode == "clip" and real_index:
  if (!(index > 0)) return 0;  // NaN as well
  return index < (${I})n ? min((index_t)index, n - 1) : n - 1;
% elif t.mode == "clip":
  return (index_t)clamp((long)index, 0L, (long)n - 1);
% else:
% if real_index:
  // Numbers that a long cannot hold, infinity and NaN count as 0.
  const long whole = fabs(index) < ${expr.c_literal(2.0**62, expr.dtypes.compute_type(t.index_dtype))} ? (long)index : 0;
% else:
  const long whole = (long)index;
% endif
  const long rest = whole % n;
  return (index_t)(rest < 0 ? rest + n : rest);
% endif
}
% if kernel == "take":

__kernel void ${name}(
    ${t.signature})
{
  indices += indices_offset;
  __global const ${bits} *from = (__global const ${bits} *)data + data_offset;
  __global ${bits} *to = (__global ${bits} *)y + y_offset;
% if cpu and t.inner == 1:
  const index_t groups = (outer + ${G - 1}) / ${G}, count = groups * taken;
  const index_t share = (count + get_global_size(0) - 1) / get_global_size(0);
  index_t p = get_global_id(0) * share;
  const index_t last = min(count, p + share);
  while (p < last) {
    const index_t group = p / taken, a = group * ${G}, stop = min(taken, last - group * taken);
    index_t j = p - group * taken;
    p = group * taken + stop;
    __global const ${bits} *const source = from + a * n;
    __global ${bits} *const target = to + a * taken;
% if G > 1:
    if (a + ${G} <= outer) {
      for (; j + ${J} <= stop; j += ${J}) {
% for i in range(J):
        const index_t p${i} = at(${expr.load(t.index_dtype, "indices", f"j + {i}")}, n);
% endfor
        for (int k = 0; k < ${G}; ++k) {
          __global const ${bits} *const line = source + k * n;
          vstore${J}((${bits}${J})(${", ".join(f"line[p{i}]" for i in range(J))}), 0, target + (k * taken + j));
        }
      }
    }
    for (; j < stop; ++j) {
      const index_t place = at(${expr.load(t.index_dtype, "indices", "j")}, n);
      for (index_t k = 0; k < min((index_t)${G}, outer - a); ++k) target[k * taken + j] = source[k * n + place];
    }
% else:
    for (; j < stop; ++j) target[j] = source[at(${expr.load(t.index_dtype, "indices", "j")}, n)];
% endif
  }
}
<% return STOP_RENDERING %>\
% endif
  const index_t row_blocks = (inner + ${W - 1}) / ${W};
  const index_t blocks = outer * taken * row_blocks;
% if cpu:
  const index_t share = (blocks + get_global_size(0) - 1) / get_global_size(0);
  index_t block = get_global_id(0) * share;
  const index_t last = min(blocks, block + share);
  index_t row = block / row_blocks, a = row / taken, j = row - a * taken;
  index_t column = (block - row * row_blocks) * ${W};
  while (block < last) {
% if t.abreast:
    if (column == 0 && j + ${J} <= taken && block + ${J} * row_blocks <= last) {
% for i in range(J):
      const index_t source${i} = (a * n + at(${expr.load(t.index_dtype, "indices", f"j + {i}")}, n)) * inner;
% endfor
      for (; column < inner; column += ${W}) {
% for i in range(J):
        const ${bits}${W} v${i} = vload${W}(0, from + (source${i} + column));
% endfor
% for i in range(J):
        STREAM(${bits}, ${W}, v${i}, to + ((row + ${i}) * inner + column));
% endfor
      }
      block += ${J} * row_blocks;
      column = 0;
      row += ${J};
      j += ${J};
      if (j == taken) {
        j = 0;
        ++a;
      }
      continue;
    }
% endif
    const index_t row_last = min(row_blocks, last - row * row_blocks);
    const index_t stop = min(inner, row_last * ${W});
% else:
  for (index_t block = get_global_id(0); block < blocks; block += get_global_size(0)) {
    const index_t row = block / row_blocks, a = row / taken, j = row - a * taken;
    index_t column = (block - row * row_blocks) * ${W};
    const index_t stop = min(inner, column + ${W});
% endif
    const index_t source = (a * n + at(${expr.load(t.index_dtype, "indices", "j")}, n)) * inner;
    const index_t target = row * inner;
% if W > 1:
    for (; column + ${W} <= stop; column += ${W})
      ${stored()}
% endif
    for (; column < stop; ++column) to[target + column] = from[source + column];
% if cpu:
    block = row * row_blocks + row_last;
    column = 0;
    ++row;
    if (++j == taken) {
      j = 0;
      ++a;
    }
% endif
  }
% if t.streams:
  ${common.streamed()}
% endif
}
<%def name="stored()">\
<%
    value, place = f"vload{W}(0, from + (source + column))", "to + (target + column)"
%>\
% if t.streams:
{ STREAM(${bits}, ${W}, ${value}, ${place}); }\
% else:
vstore${W}(${value}, 0, ${place});\
% endif
</%def>\
% else:
## A statement for each of the owner's columns c; `statement(width)` spells it for vectors and scalars.
<%def name="each_column(statement)">\
% if cpu:
      index_t c = first_column;
% if W > 1:
      for (; c + ${W} <= last_column; c += ${W}) ${statement(W)}
% endif
      for (; c < last_column; ++c) ${statement(1)}
% else:
      const index_t c = first_column;
      ${statement(1)}
% endif
</%def>\
<%
def clear(width):
    zero = "0" if width == 1 else f"({expr.dtypes.c_type(compute, width)})(0)"
    return expr.store(total_dtype, zero, compute, total, "row + c", width)

def add(width):
    terms = expr.load(total_dtype, total, "row + c", width), expr.load(t.dtype, "dy", "from + c", width)
    return expr.store(total_dtype, " + ".join(terms), compute, total, "row + c", width)

def round_total(width):
    return expr.store(t.dtype, expr.load(total_dtype, total, "row + c", width), compute, "dx", "row + c", width)
%>
__kernel void ${name}(
    ${t.signature})
{
  dy += dy_offset;
  indices += indices_offset;
  dx += dx_offset;
% if t.accumulator:
  total += total_offset;
% endif
  const index_t owners = outer * row_blocks * column_blocks;
  const index_t rows_each = (n + row_blocks - 1) / row_blocks;
  const index_t columns_each = (inner + column_blocks - 1) / column_blocks;
  for (index_t owner = get_global_id(0); owner < owners; owner += get_global_size(0)) {
    const index_t column_block = owner % column_blocks;
    const index_t row_block = owner / column_blocks % row_blocks;
    const index_t a = owner / column_blocks / row_blocks;
    const index_t first_column = min(inner, column_block * columns_each);
    const index_t last_column = min(inner, first_column + columns_each);
    const index_t first_row = min(n, row_block * rows_each);
    const index_t last_row = min(n, first_row + rows_each);
    for (index_t i = first_row; i < last_row; ++i) {
      const index_t row = (a * n + i) * inner;
${each_column(clear)}\
    }
    for (index_t j = 0; j < taken; ++j) {
      const index_t i = at(${expr.load(t.index_dtype, "indices", "j")}, n);
      if (i < first_row || i >= last_row) continue;
      const index_t row = (a * n + i) * inner, from = (a * taken + j) * inner;
${each_column(add)}\
    }
% if t.accumulator:
    for (index_t i = first_row; i < last_row; ++i) {
      const index_t row = (a * n + i) * inner;
${each_column(round_total)}\
    }
% endif
  }
}
% endif
