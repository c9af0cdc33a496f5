## Copy: y[p] = x[p] at each position p of an iteration space, row by row.
##
## Layout: y is contiguous along rows; x is contiguous there (INNER 1), contiguous and read backwards (-1), or
##   one element for the whole row (0). Rows of either are any number of elements apart along any number of axes.
##   Elements are moved as integers of their size.
## For CPUs: each work-item takes one contiguous range of pieces of rows, of PIECE columns each. It counts through
##   the axes where a division for each row would take longer than moving a short one. What is left of a piece
##   behind the last whole vector is moved by vectors half, a quarter, ... as long.
##   With STREAMS, vectors are stored past the caches, four after four are loaded: reads and writes of memory take
##   turns less often. Elements before the first boundary of a line are not.
## Assumes: y does not overlap x, unless position by position. PIECE is a multiple of WIDTH.
## Tunables: WIDTH, PIECE (clgrad/kernels/copy.py).
<%namespace name="common" file="common.mako"/>\
<%
W = width
T = expr.dtypes.c_type(dtype, 1)
halves = [W >> k for k in range(1, W.bit_length())]
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
  const index_t pieces = (columns + ${piece - 1}) / ${piece};
  const index_t units = rows * pieces;
  const index_t share = (units + get_global_size(0) - 1) / get_global_size(0);
  index_t unit = get_global_id(0) * share;
  const index_t last = min(units, unit + share);
  if (unit >= last) return;
  const index_t row = unit / pieces;
  index_t piece = unit - row * pieces;
% if outer:
  index_t rest = row;
% for a in reversed(range(1, len(outer))):
  index_t i${a} = rest % ${outer[a]};
  rest /= ${outer[a]};
% endfor
  index_t i0 = rest;
% endif
  index_t to = ${" + ".join(["y_base", *(f"i{a} * y_s{a}" for a in range(len(outer)))])};
  index_t from = ${" + ".join(["x_base", *(f"i{a} * x_s{a}" for a in range(len(outer)))])};
  for (; unit < last; ++unit) {
    index_t c = piece * ${piece};
    const index_t stop = min(columns, c + ${piece});
% if streams:
    index_t before = ((size_t)0 - (size_t)(y + (to + c))) / sizeof(${T}) & ${W - 1};
    for (; before && c < stop; --before, ++c) ${moved(1)}
% endif
% if streams:
    for (; c + ${4 * W} <= stop; c += ${4 * W}) {
% for k in range(4):
      const ${T}${W} v${k} = ${value(W, f"c + {k * W}")};
% endfor
% for k in range(4):
      STREAM(${T}, ${W}, v${k}, y + (to + c + ${k * W}));
% endfor
    }
% endif
    for (; c + ${W} <= stop; c += ${W}) ${moved(W, streams)}
% for half in halves:
    if (c + ${half} <= stop) {
      ${moved(half)}
      c += ${half};
    }
% endfor
    if (++piece < pieces) continue;
    piece = 0;
% for a in reversed(range(len(outer))):
    to += y_s${a};
    from += x_s${a};
    if (++i${a} < ${outer[a]}) continue;
    i${a} = 0;
    to -= ${outer[a]} * y_s${a};
    from -= ${outer[a]} * x_s${a};
% endfor
  }
% if streams:
  ${common.streamed()}
% endif
}
<%def name="value(n, place)">\
<%
    at = {0: "x + from", 1: f"x + (from + {place})", -1: f"x + (from - ({place}) - {n - 1})"}[inner]
    backwards = f".s{''.join(f'{i:x}' for i in reversed(range(n)))}" if inner < 0 else ""
%>\
% if n == 1:
*(${at})\
% elif inner == 0:
(${T}${n})(*(${at}))\
% else:
vload${n}(0, ${at})${backwards}\
% endif
</%def>\
<%def name="moved(n, streams=False)">\
% if n == 1:
y[to + c] = ${value(n, "c")};\
% elif streams:
{ STREAM(${T}, ${n}, (${value(n, "c")}), y + (to + c)); }\
% else:
vstore${n}(${value(n, "c")}, 0, y + (to + c));\
% endif
</%def>\
