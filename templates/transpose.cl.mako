## Transpose: y[o, r, c] = x[o, c, r] for all rows r and columns c of each matrix o.
##
## Layout: y is contiguous along columns, x along rows; rows of y and columns of x are any number of elements
##   apart, and so are the matrices, which have any number of axes.
## The matrices are cut into tiles of TILE x TILE, which use up the cache lines of both arrays.
## CPU shape: each work-item takes one contiguous range of tiles. A tile is cut into squares of WIDTH x WIDTH
##   that stay in registers: WIDTH vectors along the rows are loaded and, log2(WIDTH) times, vector i and
##   vector i + WIDTH / 2 are interleaved to vectors 2 i and 2 i + 1. That rotates the bits of an element's
##   place (vector, lane) by one each time; after log2(WIDTH) times vector and lane are exchanged.
## GPU shape: a work-group of TILE x TEAM work-items takes a tile through local memory, whose rows are one
##   element longer, so that neither way of reading it meets one bank again and again.
## Assumes: TILE is a multiple of WIDTH; full work-groups.
## Tunables: TILE, WIDTH, TEAM (clgrad/kernels/transpose.py).
<%namespace name="common" file="common.mako"/>\
<%
T = expr.dtypes.c_type(dtype, 1)
W = width
%>\
${common.prologue(signature, [])}
__kernel void ${name}(
    ${signature})
{
  y += y_offset;
  x += x_offset;
  const index_t row_tiles = (rows + ${tile - 1}) / ${tile};
  const index_t column_tiles = (columns + ${tile - 1}) / ${tile};
  const index_t tiles = matrices * row_tiles * column_tiles;
% if shape == "cpu":
  const index_t share = (tiles + get_global_size(0) - 1) / get_global_size(0);
  const index_t last = min(tiles, (index_t)(get_global_id(0) + 1) * share);
  for (index_t tile = get_global_id(0) * share; tile < last; ++tile) {
% else:
  __local ${T} square[${tile * (tile + 1)}];
  const int across = get_local_id(0) % ${tile}, down = get_local_id(0) / ${tile};
  for (index_t tile = get_group_id(0); tile < tiles; tile += get_num_groups(0)) {
% endif
    const index_t line = tile / column_tiles;
    const index_t column = (tile - line * column_tiles) * ${tile};
    const index_t matrix = line / row_tiles;
    const index_t row = (line - matrix * row_tiles) * ${tile};
    ${common.decode("matrix", outer, "i")}
    const index_t y_base = ${" + ".join(["0", *(f"i{a} * y_s{a}" for a in range(len(outer)))])};
    const index_t x_base = ${" + ".join(["0", *(f"i{a} * x_s{a}" for a in range(len(outer)))])};
% if shape == "cpu":
    const index_t row_end = min(rows, row + ${tile}), column_end = min(columns, column + ${tile});
    index_t r = row;
    for (; r + ${W} <= row_end; r += ${W}) {
      index_t c = column;
      for (; c + ${W} <= column_end; c += ${W}) {
% for i in range(W):
        const ${T}${W} a0_${i} = vload${W}(0, x + (x_base + (c + ${i}) * x_column + r));
% endfor
${interleaved()}\
% for i in range(W):
        vstore${W}(a${W.bit_length() - 1}_${i}, 0, y + (y_base + (r + ${i}) * y_row + c));
% endfor
      }
      for (index_t k = r; k < r + ${W}; ++k)
        for (index_t j = c; j < column_end; ++j)
          y[y_base + k * y_row + j] = x[x_base + j * x_column + k];
    }
    for (; r < row_end; ++r)
      for (index_t c = column; c < column_end; ++c)
        y[y_base + r * y_row + c] = x[x_base + c * x_column + r];
% else:
    for (int k = down; k < ${tile}; k += ${team})
      if (column + k < columns && row + across < rows)
        square[k * ${tile + 1} + across] = x[x_base + (column + k) * x_column + row + across];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = down; k < ${tile}; k += ${team})
      if (row + k < rows && column + across < columns)
        y[y_base + (row + k) * y_row + column + across] = square[across * ${tile + 1} + k];
    barrier(CLK_LOCAL_MEM_FENCE);
% endif
  }
}
<%def name="interleaved()">\
% for turn in range(W.bit_length() - 1):
% for i in range(W // 2):
<%
    a, b = f"a{turn}_{i}", f"a{turn}_{i + W // 2}"
    lanes = [f"{v}.s{k:x}" for k in range(W) for v in (a, b)]
%>\
        const ${T}${W} a${turn + 1}_${2 * i} = (${T}${W})(${", ".join(lanes[:W])});
        const ${T}${W} a${turn + 1}_${2 * i + 1} = (${T}${W})(${", ".join(lanes[W:])});
% endfor
% endfor
</%def>\
