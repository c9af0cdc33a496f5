## Pooling over windows of 1 to 3 spatial axes, and its derivatives. By MODE, for each target element:
##
##     max      y = the largest element of its window (NaN is the largest), index = where: the first one
##     sum      y = the sum over its window, or their average
##     gather   y = x[index]: forward derivative of max
##     scatter  y = the sum of x over the windows that hold the element and whose index is the element
##     spread   y = the sum of x (average: of x / count) over the windows that hold the element
##
## Layout: (rows of outer, spatial axes), C order. `from` is the array read, `to` the one computed; for
##   scatter and spread, `from` are the windows. Along axis d, window o covers the elements from
##   o * stride - pad on, kernel of them; conversely, element i is held by the windows
##   floor((i + pad - kernel) / stride) + 1 to floor((i + pad) / stride). Both are ranges [lo, hi).
## CPU shape: a work-item takes tiles of at most SPAN columns of a row. Columns from inner_first to
##   inner_last need no bounds check along the last axis and run WIDTH at a time: neighbouring windows,
##   loaded with the stride; for derivatives, WIDTH neighbouring windows q and their columns q * stride
##   - pad + phase, phase < stride, one accumulator for each phase (polyphase form), interleaved on the
##   store. The last vector of a tile overlaps the one before it rather than leave a remainder.
##   Other columns run WIDTH at a time, too (of derivatives: with stride 1), if what lies where the padding
##   would be is still the array, a neighbouring row: it is loaded and masked. What is left, at the ends of
##   the array, is computed one by one.
## GPU shape: one work-item for each element, neighbours on neighbours.
## TEAM > 0 (long windows): the members of a team share a window, and their results are joined: lanes of a
##   vector on a CPU, a work-group with a tree in local memory on a GPU.
## Assumes: `index` holds what mode max gave for the same geometry.
## Tunables: SPAN, WIDTH, TEAM (clgrad/kernels/pool.py). Kernel, stride and pad are constants here.
<%namespace name="common" file="common.mako"/>\
<%
g, W, mode, storage = k.geometry, k.width, k.mode, k.dtype
cpu = k.device.kind == "cpu"
rank = len(g.size)
last = rank - 1
leading = range(last)
K, S, P = g.kernel, g.stride, g.pad
compute = expr.dtypes.compute_type(storage)
T = expr.dtypes.c_type(compute)
lanes = k.team if cpu and k.team else W
TV, IV = f"{T}{lanes}", f"int{lanes}"
double = compute.itemsize == 8
LOWEST = {2: "-65504.0f", 4: "-FLT_MAX", 8: "-DBL_MAX"}[storage.itemsize]
coordinate = [f"c{d + 1}" for d in leading] + ["column"]
as_int_mask = (lambda mask: f"convert_{IV}({mask})") if double else (lambda mask: mask)
as_T_mask = (lambda mask: f"convert_long{lanes}({mask})") if double else (lambda mask: mask)
iota = lambda step: f"({IV})({', '.join(str(i * step) for i in range(lanes))})"
component = lambda vector, i: f"{vector}.s{i:x}"
product = lambda factors: " * ".join(f"({f})" for f in factors) or "1"

def extent(d, o, n):
    """Elements that an average counts along axis d of window `o`; `n` is the size of the data."""
    if g.include_pad:
        return f"min((index_t){K[d]}, {n}{d} + {2 * P[d]} - {o} * {S[d]})"
    return f"min({o} * {S[d]} + {K[d] - P[d]}, {n}{d}) - max({o} * {S[d]} - {P[d]}, (index_t)0)"

def strided(position):
    """C expression that loads one element for each lane, `stride` apart; reads nothing beyond them."""
    if S[last] == 1:
        return expr.load(storage, "x", position, lanes)
    if S[last] == 2:
        low = expr.load(storage, "x", position, lanes)
        high = expr.load(storage, "x", f"{position} + {lanes - 1}", lanes)
        return f"({TV})({low}.even, {high}.odd)"
    each = (expr.load(storage, "x", f"{position} + {i * S[last]}") for i in range(lanes))
    return f"({TV})({', '.join(each)})"
%>\
## [lo, hi) along axis d for the target coordinate.
<%def name="window(d)">\
% if k.backward:
<% c = coordinate[d] %>\
    const index_t lo${d} = ${c} + ${P[d]} < ${K[d]} ? 0 : (${c} + ${P[d] - K[d]}) / ${S[d]} + 1;
    const index_t hi${d} = min((${c} + ${P[d]}) / ${S[d]} + 1, from${d});
% else:
    const index_t start${d} = ${coordinate[d]} * ${S[d]} - ${P[d]};
    const index_t lo${d} = max(start${d}, (index_t)0), hi${d} = min(start${d} + ${K[d]}, from${d});
% endif
</%def>\
## Opens the loops over the leading axes; `line` is where the line of the last axis starts in the channel.
<%def name="leading_loops()">\
% for d in leading:
      for (index_t i${d} = lo${d}; i${d} < hi${d}; ++i${d})
% endfor
      {
        const index_t line = ${line([f"i{d}" for d in leading])};
% if mode == "spread" and k.average:
        const index_t lines = ${product(extent(d, f"i{d}", "to") for d in leading)};
% endif
</%def>\
<%def name="line(indices)" filter="trim">
<%
text = "0"
for d, i in enumerate(indices):
    text = f"({i} + {text}) * from{d + 1}" if text != "0" else f"{i} * from{d + 1}"
%>${text}
</%def>\
## Position of the target element in its channel.
<%def name="own_position()" filter="trim">
${" + ".join([" * ".join([c] + [f"to{e}" for e in range(d + 1, rank)]) for d, c in enumerate(coordinate)])}
</%def>\
## The largest of a window so far, `best` at `where`, meets `value` at `at`: visited in C order, so only a
## larger one, or a first NaN, takes its place.
<%def name="keep_larger(value, at)">\
        if (${value} > best || (${value} != ${value} && best == best)) { best = ${value}; where = ${at}; }
</%def>\
## In vectors, "not less or equal" is both.
<%def name="keep_larger_lanes(best, where, value, at)">\
          {
            const ${"long" if double else "int"}${lanes} larger = ~(${value} <= ${best}) & (${best} == ${best});
            ${best} = select(${best}, ${value}, larger);
            ${where} = select(${where}, ${at}, ${as_int_mask("larger")});
          }
</%def>\
## Partial results of a team in any order: ties go to the first position.
<%def name="join(value, at)">\
        if (${value} > best || (${value} != ${value} && best == best)
            || ((${value} == best || (${value} != ${value} && best != best)) && ${at} < where)) {
          best = ${value};
          where = ${at};
        }
</%def>\
## A vector of partial results, folded in halves, then with the scalar one.
<%def name="join_lanes()">\
<% size, values, places = lanes, "bests", "wheres" %>\
% while size > 1:
<%
size //= 2
a, b, p, q = f"{values}.lo", f"{values}.hi", f"{places}.lo", f"{places}.hi"
values, places = f"bests{size}", f"wheres{size}"
kind, whole, mask = (f"{name}{size}" if size > 1 else name for name in (T, "int", "long" if double else "int"))
larger = f"({b} > {a}) | (({b} != {b}) & ({a} == {a}))"
if k.with_index:
    equal = f"({b} == {a}) | (({b} != {b}) & ({a} != {a}))"
    earlier = f"convert_{mask}({q} < {p})" if double and size > 1 else f"({q} < {p})"
    larger = f"{larger} | (({equal}) & {earlier})"
%>\
      const ${mask} larger${size} = ${larger};
% if size > 1:
      const ${kind} ${values} = select(${a}, ${b}, larger${size});
      const ${whole} ${places} = select(${p}, ${q}, ${f"convert_int{size}(larger{size})" if double else f"larger{size}"});
% else:
      const ${kind} ${values} = larger${size} ? ${b} : ${a};
      const int ${places} = larger${size} ? ${q} : ${p};
% endif
% endwhile
${join("bests1", "wheres1")}\
</%def>\
## ---- Bodies: one target element (scalar), WIDTH of them (vector), one by a team -----------------------
<%def name="begin_window()">\
% if mode == "max":
      ${T} best = -INFINITY;
      int where = ${line([f"lo{d}" for d in leading])} + lo${last};
% else:
      ${T} sum = 0;
% endif
</%def>\
<%def name="store_result()">\
% if mode == "max":
      if (${" || ".join(f"lo{d} >= hi{d}" for d in range(rank))}) { best = ${LOWEST}; where = -1; }
      ${expr.store(storage, "best", compute, "y", f"row * to{last} + column")}
% if k.with_index:
      index[row * to${last} + column] = where;
% endif
% else:
% if mode == "sum" and k.average:
      const index_t count = ${product(extent(d, coordinate[d], "from") for d in range(rank))};
      sum /= (${T})max(count, (index_t)1);
% endif
      ${expr.store(storage, "sum", compute, "y", f"row * to{last} + column")}
% endif
</%def>\
<%def name="scalar_body()">\
${window(last)}\
${begin_window()}\
% if mode == "scatter":
      const int own = ${own_position()};
% endif
${leading_loops()}\
        for (index_t i = lo${last}; i < hi${last}; ++i) {
          const index_t at = line + i;
% if mode == "max":
          const ${T} value = ${expr.load(storage, "x", "base + at")};
${keep_larger("value", "at")}\
% elif mode == "scatter":
          if (index[base + at] == own) sum += ${expr.load(storage, "x", "base + at")};
% elif mode == "spread" and k.average:
          const index_t count = lines * (${extent(last, "i", "to")});
          sum += ${expr.load(storage, "x", "base + at")} / (${T})count;
% else:
          sum += ${expr.load(storage, "x", "base + at")};
% endif
        }
      }
${store_result()}\
</%def>\
## With MASKED, windows may reach beyond the row.
<%def name="vector_body(masked)">\
<% offsets = f"((IV)((int)first) + {iota(S[last])})".replace("IV", IV) %>\
        const index_t first = column * ${S[last]} - ${P[last]};
% if masked:
        const ${IV} starts = ${offsets};
% endif
% if mode == "max":
        ${TV} best = (${TV})(-INFINITY);
        ${IV} where = (${IV})(${line([f"lo{d}" for d in leading])})${f" + max(({IV})(0), -starts)" if masked else ""};
% else:
        ${TV} sum = (${TV})(0);
% endif
${leading_loops()}\
          for (int t = 0; t < ${K[last]}; ++t) {
% if masked:
            const ${IV} at = starts + (${IV})(t), inside = (at >= (${IV})(0)) & (at < (${IV})((int)from${last}));
            const ${TV} value = select((${TV})(${"-INFINITY" if mode == "max" else "0"}), ${strided("base + line + first + t")}, ${as_T_mask("inside")});
% else:
            const ${TV} value = ${strided("base + line + first + t")};
% endif
% if mode == "max":
${keep_larger_lanes("best", "where", "value", f"({IV})((int)(line + t))")}\
% else:
            sum += value;
% endif
          }
        }
% if mode == "max":
% if masked and k.padding_only:
        const ${IV} empty = (starts + (${IV})(${K[last]}) <= (${IV})(0)) | (starts >= (${IV})((int)from${last}));
        best = select(best, (${TV})(${LOWEST}), ${as_T_mask("empty")});
% endif
        ${expr.store(storage, "best", compute, "y", f"row * to{last} + column", W)}
% if k.with_index:
<% place = f"where + {offsets}" %>\
        vstore${W}(${f"select({place}, ({IV})(-1), empty)" if masked and k.padding_only else place}, 0, index + (row * to${last} + column));
% endif
% else:
% if k.average and masked:
        const int lines = ${product(extent(d, coordinate[d], "from") for d in leading)};
        sum /= convert_${TV}(max((${IV})(lines) * ${extents("starts", "from")}, (${IV})(1)));
% elif k.average:
        const index_t count = ${product([*(extent(d, coordinate[d], "from") for d in leading), K[last]])};
        sum /= (${TV})((${T})count);
% endif
        ${expr.store(storage, "sum", compute, "y", f"row * to{last} + column", W)}
% endif
</%def>\
## Whether all that the windows of a vector at `block` would read lies in the array.
<%def name="within_array()" filter="trim">
<%
reads = f"block + {P[last] - K[last] + 1}" if k.backward else f"block * {S[last]} - {P[last]}"
count = K[last] + (W - 1) * S[last]
%>
base + ${line([f"lo{d}" for d in leading])} + ${reads} >= 0
          && base + ${line([f"(hi{d} - 1)" for d in leading])} + ${reads} <= outer * ${" * ".join(f"from{d}" for d in range(rank))} - ${count}
</%def>\
## How many elements an average counts along the last axis in the windows that start at `starts`, a vector.
<%def name="extents(starts, n)" filter="trim">
% if g.include_pad:
min((${IV})(${K[last]}), (${IV})((int)${n}${last} + ${P[last]}) - ${starts})
% else:
(min(${starts} + (${IV})(${K[last]}), (${IV})((int)${n}${last})) - max(${starts}, (${IV})(0)))
% endif
</%def>\
## Columns of windows q to q + WIDTH - 1, by phase; or, with one window to a row, WIDTH columns of that.
## With MASKED, only for stride 1, windows q - j may not exist.
<%def name="polyphase_body(masked=False)">\
<%
s = max(1, k.phases)
reach = (K[last] - 1) // s if k.phases else 0
position = "base + line + q - j" if k.phases else "base + line"
count = K[last] if k.phases else extent(last, "(index_t)0", "to")
%>\
% if k.phases:
        const index_t q = (column + ${P[last]}) / ${s};
% endif
% for r in range(s):
        ${TV} sum${r} = (${TV})(0);
% endfor
% if mode == "scatter":
        const ${IV} own = (${IV})(${own_position()}) + ${iota(s)};
% endif
${leading_loops()}\
          for (int j = ${reach}; j >= 0; --j) {
% if masked:
            const ${IV} at = (${IV})((int)(q - j)) + ${iota(1)}, inside = (at >= (${IV})(0)) & (at < (${IV})((int)from${last}));
            ${TV} value = select((${TV})(0), ${expr.load(storage, "x", position, W)}, ${as_T_mask("inside")});
% elif k.phases:
            ${TV} value = ${expr.load(storage, "x", position, W)};
% else:
            ${TV} value = (${TV})(${expr.load(storage, "x", position)});
% endif
% if mode == "scatter" and k.phases:
            const ${IV} taken = ${f"select(({IV})(-1), vload{W}(0, index + ({position})), inside)" if masked else f"vload{W}(0, index + ({position}))"};
% elif mode == "scatter":
            const ${IV} taken = (${IV})(index[${position}]);
% elif k.average and masked:
            const ${IV} starts = at - (${IV})(${P[last]});
            value /= convert_${TV}(max((${IV})((int)lines) * ${extents("starts", "to")}, (${IV})(1)));
% elif k.average:
            value /= (${TV})((${T})(lines * (${count})));
% endif
% for r in range(s):
<% term = f"select(({TV})(0), value, {as_T_mask(f'taken == own + ({IV})({r})')})" if mode == "scatter" else "value" %>\
            ${"" if r + reach * s < K[last] else f"if (j * {s} < {K[last] - r}) "}sum${r} += ${term};
% endfor
          }
        }
% for v in range(s):
<% value = f"({TV})({', '.join(component(f'sum{e % s}', e // s) for e in range(v * W, (v + 1) * W))})" if s > 1 else "sum0" %>\
        ${expr.store(storage, value, compute, "y", f"row * to{last} + column + {v * W}", W)}
% endfor
</%def>\
<%def name="team_body()">\
${window(last)}\
${begin_window()}\
% if cpu and mode == "max":
      ${TV} bests = (${TV})(best);
      ${IV} wheres = (${IV})(where);
% elif cpu:
      ${TV} sums = (${TV})(0);
% endif
${leading_loops()}\
% if cpu:
        index_t i = lo${last};
        for (; i + ${lanes} <= hi${last}; i += ${lanes}) {
          const ${TV} value = ${expr.load(storage, "x", "base + line + i", lanes)};
% if mode == "max":
${keep_larger_lanes("bests", "wheres", "value", f"({IV})(line + i) + {iota(1)}")}\
% else:
          sums += value;
% endif
        }
        for (; i < hi${last}; ++i) {
% else:
        for (index_t i = lo${last} + get_local_id(0); i < hi${last}; i += ${k.team}) {
% endif
          const ${T} value = ${expr.load(storage, "x", "base + line + i")};
% if mode == "max":
${keep_larger("value", "line + i")}\
% else:
          sum += value;
% endif
        }
      }
% if cpu:
% if mode == "max":
${join_lanes()}\
% else:
% for i in range(lanes):
      sum += ${component("sums", i)};
% endfor
% endif
${store_result()}\
% else:
${tree()}\
      if (get_local_id(0) == 0) {
${store_result()}\
      }
% endif
</%def>\
<%def name="tree()">\
<% result = "best" if mode == "max" else "sum" %>\
      const int member = get_local_id(0);
      barrier(CLK_LOCAL_MEM_FENCE);  // the previous element's results have been read
      results[member] = ${result};
% if mode == "max":
      positions[member] = where;
% endif
      for (int half_team = ${k.team // 2}; half_team > 0; half_team /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (member < half_team) {
% if mode == "max":
          const ${T} other = results[member + half_team];
          const int other_where = positions[member + half_team];
${join("other", "other_where")}\
          positions[member] = where;
% else:
          sum += results[member + half_team];
% endif
          results[member] = ${result};
        }
      }
</%def>\
${common.prologue(k.signature, [])}
% if k.team and not cpu:
__attribute__((reqd_work_group_size(${k.team}, 1, 1)))
% endif
__kernel void ${k.name}(
    ${k.signature})
{
  x += x_offset;
  y += y_offset;
% if mode in ("gather", "scatter") or (mode == "max" and k.with_index):
  index += index_offset;
% endif
% if k.team and not cpu:
  __local ${T} results[${k.team}];
% if mode == "max":
  __local int positions[${k.team}];
% endif
% endif
% if cpu:
  const index_t tiles = (to${last} + ${k.span - 1}) / ${k.span};
  const index_t share = (rows * tiles + get_global_size(0) - 1) / get_global_size(0);
  const index_t first_tile = get_global_id(0) * share;
  const index_t last_tile = min(rows * tiles, first_tile + share);
  for (index_t tile = first_tile; tile < last_tile; ++tile) {
    const index_t row = tile / tiles;
    index_t column = (tile - row * tiles) * ${k.span};
    const index_t stop = min(to${last}, column + ${k.span});
% elif k.team:
  for (index_t element = get_group_id(0); element < rows * to${last}; element += get_num_groups(0)) {
    const index_t row = element / to${last}, column = element - row * to${last};
% else:
  for (index_t element = get_global_id(0); element < rows * to${last}; element += get_global_size(0)) {
    const index_t row = element / to${last}, column = element - row * to${last};
% endif
    ${common.decode("row", ["outer"] + [f"to{d}" for d in leading], "c")}
    const index_t base = c0 * ${" * ".join(f"from{d}" for d in range(rank))};
% if mode != "gather":
% for d in leading:
${window(d)}\
% endfor
% endif
% if W > 1 and k.backward and k.phases != 1:
<% phases = max(1, k.phases) %>\
    // The part of the tile that vectors cover, in whole groups of phases.
% if phases > 1:
    const index_t begin = max(inner_first, (column + ${P[last] + phases - 1}) / ${phases} * ${phases} - ${P[last]});
    const index_t end = min(inner_last, (stop + ${P[last]}) / ${phases} * ${phases} - ${P[last]});
% else:
    const index_t begin = max(inner_first, column), end = min(inner_last, stop);
% endif
    const bool vectors = end - begin >= ${W * phases};
    while (column < stop) {
      if (vectors && column >= begin && column < end) {
        column = min(column, end - ${W * phases});
${polyphase_body()}\
        column += ${W * phases};
        continue;
      }
% elif W > 1:
    const bool vectors = ${" && ".join([f"stop - column >= {W}"] + [f"lo{d} < hi{d}" for d in leading if not k.backward])};
    while (column < stop) {
      const index_t block = min(column, stop - ${W});
% if k.inner[1] - k.inner[0] >= W:
      if (vectors && block >= inner_first && block + ${W} <= inner_last) {
        column = block;
${polyphase_body() if k.backward else vector_body(False)}\
        column += ${W};
        continue;
      }
% endif
      if (vectors && ${within_array()}) {
        column = block;
${polyphase_body(True) if k.backward else vector_body(True)}\
        column += ${W};
        continue;
      }
% elif cpu:
    for (; column < stop; ++column) {
% else:
    {
% endif
% if mode == "gather":
      const int where = index[row * to${last} + column];
      ${T} value = 0;
      if (where >= 0) value = ${expr.load(storage, "x", "base + where")};
      ${expr.store(storage, "value", compute, "y", f"row * to{last} + column")}
% elif k.team:
${team_body()}\
% else:
${scalar_body()}\
% endif
% if W > 1:
      ++column;
% endif
    }
  }
}
