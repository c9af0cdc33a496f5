## Transpose: y[o, r, c] = x[o, c, r] for all rows r and columns c of each matrix o.
##
## Layout: y is contiguous along columns, x along rows; rows of y and columns of x are any number of elements
##   apart, and so are the matrices, which have any number of axes.
## The matrices are cut into tiles of DEPTH rows and TILE columns.
## CPU shape: each work-item takes one contiguous range of tiles, and WIDTH columns of a tile at a time: it
##   reads WIDTH lines of x side by side, as far as the tile's rows go, and writes whole vectors of y. LANES
##   rows at a time stay in registers: vector k holds elements k, k + LANES, ... of the columns, each with its
##   LANES rows. The squares of LANES x LANES that lie across the vectors are transposed by exchanging halves,
##   then quarters: what is shuffled crosses few lanes. With STREAMS, vectors are stored past the caches.
## GPU shape: a work-group of TILE x TEAM work-items takes a tile through local memory, whose rows are one
##   element longer, so that neither way of reading it meets one bank again and again.
## Assumes: TILE is a multiple of WIDTH, and on GPUs DEPTH is TILE; WIDTH is a multiple of LANES, a power of
##   two; full work-groups.
## Tunables: DEPTH, TILE, WIDTH, TEAM (clgrad/kernels/transpose.py).
<%namespace name="common" file="common.mako"/>\
<%
T = expr.dtypes.c_type(dtype, 1)
W, L = width, lanes
%>\
${common.prologue(signature, [])}
% if streams:
${common.streaming()}
% endif
__kernel void ${name}(
    ${signature})
{
  y += y_offset;
  x += x_offset;
  const index_t row_tiles = (rows + ${depth - 1}) / ${depth};
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
    const index_t row = (line - matrix * row_tiles) * ${depth};
    ${common.decode("matrix", outer, "i")}
    const index_t y_base = ${" + ".join(["0", *(f"i{a} * y_s{a}" for a in range(len(outer)))])};
    const index_t x_base = ${" + ".join(["0", *(f"i{a} * x_s{a}" for a in range(len(outer)))])};
% if shape == "cpu":
    const index_t row_end = min(rows, row + ${depth}), column_end = min(columns, column + ${tile});
    if (row_end - row < ${L} || column_end - column < ${W}) {
      for (index_t r = row; r < row_end; ++r)
        for (index_t c = column; c < column_end; ++c)
          y[y_base + r * y_row + c] = x[x_base + c * x_column + r];
      continue;
    }
    for (index_t c = column; c < column_end; c += ${W}) {
      c = min(c, column_end - ${W});  // the last vectors overlap those before
      for (index_t r = row; r < row_end; r += ${L}) {
        r = min(r, row_end - ${L});
% for k in range(L):
        const ${T}${W} a0_${k} = ${gathered(k)};
% endfor
${exchanged()}\
% for k in range(L):
        ${store(k)}
% endfor
      }
    }
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
% if streams:
  ${common.streamed()}
% endif
}
<%def name="gathered(k)">\
<%
    loads = [f"vload{L}(0, x + (x_base + (c + {g + k}) * x_column + r))" for g in range(0, W, L)]
%>\
(${T}${W})(${", ".join(loads)})\
</%def>\
<%def name="store(k)">\
<%
    value, at = f"a{L.bit_length() - 1}_{k}", f"y + (y_base + (r + {k}) * y_row + c)"
%>\
% if streams:
STREAM(${T}, ${W}, ${value}, ${at});\
% else:
vstore${W}(${value}, 0, ${at});\
% endif
</%def>\
<%def name="exchanged()">\
% for turn in range(L.bit_length() - 1):
<%
    half = L >> (turn + 1)
%>\
% for i in range(L):
% if not i & half:
<%
    a, b = f"a{turn}_{i}", f"a{turn}_{i + half}"
    low = [f"{b}.s{k - half:x}" if k & half else f"{a}.s{k:x}" for k in range(W)]
    high = [f"{b}.s{k:x}" if k & half else f"{a}.s{k + half:x}" for k in range(W)]
%>\
        const ${T}${W} a${turn + 1}_${i} = (${T}${W})(${", ".join(low)});
        const ${T}${W} a${turn + 1}_${i + half} = (${T}${W})(${", ".join(high)});
% endif
% endfor
% endfor
</%def>\
