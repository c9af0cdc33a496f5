## Adds, or writes, in the order of positions: y[place(j)] += x[j], element for element of what is indexed.
##
## Layout: y is addressed by strides over the axes that are not indexed (ROWS x COLUMNS, merged) and by a
##   position, at[j], for each of COUNT indices; x is a C-contiguous region, x_count elements from one j to
##   the next. Equal positions j meet the same elements of y, unequal ones never do.
## Each work-item owns, of one row, a block of columns and a class of positions. It reads all positions in
##   order and takes those of its class ("owner computes"): no atomics, and the same sum in every run. A CPU
##   owner has many columns, WIDTH at a time; a GPU owner has one, and its neighbours the columns beside it.
## Classes are taken from the position's bits, stirred (Knuth's multiplicative hash), so that strides that
##   all positions share do not leave owners idle.
## Assumes: positions lie inside y. y is cleared by another launch.
## Tunables: WIDTH, blocks and classes (clgrad/kernels/positions.py).
<%namespace name="common" file="common.mako"/>\
<%
helpers = []
inner = len(y.strides) - 1

def combine(width):
    """C statement for `width` columns from c on."""
    to = f"y_row + c * {y.step(inner)} + place"
    source = f"x_row + j * x_count + c * {x.step(inner)}"
    if bits:
        return f"y[{to}] = x[{source}];" if width == 1 else f"vstore{width}(vload{width}(0, x + ({source})), 0, y + ({to}));"
    sum = " + ".join([expr.load(y.operand.dtype, "y", to, width), expr.load(x.operand.dtype, "x", source, width)])
    return expr.store(y.operand.dtype, sum, expr.dtypes.compute_type(y.operand.dtype), "y", to, width)
%>\
${common.prologue(signature, helpers)}
__kernel void ${name}(
    ${signature})
{
  y += y_offset;
  x += x_offset;
  at += at_offset;
  const index_t owners = rows * column_blocks * classes;
  const index_t columns_each = (columns + column_blocks - 1) / column_blocks;
  for (index_t owner = get_global_id(0); owner < owners; owner += get_global_size(0)) {
    const index_t block = owner % column_blocks;
    const index_t row = owner / column_blocks % rows;
    const uint own_class = (uint)(owner / column_blocks / rows);
    ${common.decode("row", outer_sizes, "i")}
    const index_t y_row = ${y.row([f"i{a}" for a in range(len(outer_sizes))])};
    const index_t x_row = ${x.row([f"i{a}" for a in range(len(outer_sizes))])};
    const index_t first = min(columns, block * columns_each);
    const index_t last = min(columns, first + columns_each);
    for (index_t j = 0; j < count; ++j) {
      const index_t place = (index_t)at[j];
      if (classes > 1 && ((uint)place * 2654435761u >> 8) % (uint)classes != own_class) continue;
      index_t c = first;
% if width > 1:
      for (; c + ${width} <= last; c += ${width}) ${combine(width)}
% endif
      for (; c < last; ++c) ${combine(1)}
    }
  }
}
