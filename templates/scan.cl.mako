## Scans along one axis: how a running state goes through each (outer, inner) row of n elements. HOW is one of
##
##     sum         state = state + x, from 0
##     product     state = state * x, from 1
##     recurrence  state = b + a * state, from 0
##
##   y is the state behind each element or, with EXCLUSIVE, before it; with REVERSE, from the last element
##   to the first.
## An element is the map s -> A * s + B, where a sum has no A and a product no B; a stretch of elements is
##   the composition of theirs, a map of the same kind (Blelloch, "Prefix sums and their applications", 1990).
## KERNEL: few rows are cut along the axis into as many chunks as dimension 1 of the range has.
##     totals  the map of each chunk
##     scan    y; the state at the start of a chunk follows from the totals of those before, in order
## Layout: arrays are (outer, n, inner), C order; totals are (chunk, outer, inner). Positions count in the
##   direction of the scan.
## Shapes: one work-item for WIDTH neighbouring columns (CPUs, and GPUs where inner is large enough), or for
##   ABREAST rows at a time (CPUs, where inner is 1), or a TEAM of work-items for one row: each has SERIAL neighbouring elements of a tile, whose maps are composed
##   across the team in local memory (Hillis & Steele 1986).
## A sum of real numbers adds up blocks of BLOCK before it adds them to the state: rounding errors grow with
##   n / BLOCK + BLOCK and not with n.
## Assumes: full work-groups; nobody leaves before a barrier.
## Tunables: WIDTH, ABREAST, TEAM, SERIAL, the number of chunks (clgrad/kernels/scan.py).
<%namespace name="common" file="common.mako"/>\
<%
how, compute = s.how, expr.dtypes.compute_type(s.dtype)
maps = {"sum": "B", "product": "A", "recurrence": "AB"}[how]
start = {"sum": "0", "product": "1", "recurrence": "0"}[how]
W = s.width
T = expr.dtypes.c_type(compute, W)
one = {"A": f"({T})(1)", "B": f"({T})(0)"}

def state(m, s_):
    """The state behind a stretch, from the one before it."""
    return {"sum": f"{s_} + {m}B", "product": f"{s_} * {m}A", "recurrence": f"{m}B + {m}A * {s_}"}[how]

def then(first, second):
    """The composition of two stretches, by the parts of the map."""
    parts = {"A": f"{first}A * {second}A"}
    parts["B"] = f"{first}B + {second}B" if how == "sum" else f"{second}B + {second}A * {first}B"
    return {part: parts[part] for part in maps}

def load(array, place, width):
    own = expr.dtypes.compute_type(s.inputs[array])
    return expr.convert(expr.load(s.inputs[array], array, place, width), own, compute, width)
%>\
${common.prologue(s.signature, [])}
## Loads the map eA, eB of the element at `place`.
<%def name="element(place, width)">\
% if how == "recurrence":
const ${expr.dtypes.c_type(compute, width)} eA = ${load("a", place, width)}, eB = ${load("b", place, width)};
% else:
const ${expr.dtypes.c_type(compute, width)} e${maps} = ${load("data", place, width)};
% endif
</%def>\
<%def name="put(value, place, width)">\
% if kernel == "scan":
${expr.store(s.dtype, value, compute, "y", place, width)}
% endif
</%def>\
## Declares the state at the start of the chunk.
<%def name="carry(name, column, width)">\
    ${expr.dtypes.c_type(compute, width)} ${name} = (${expr.dtypes.c_type(compute, width)})(${start});
% if kernel == "scan" and s.chunks > 1:
    for (index_t before = 0; before < chunk; ++before) {
      const index_t total = before * (outer * inner) + ${column};
% for m in maps:
      const ${expr.dtypes.c_type(compute, width)} t${m} = ${expr.load(compute, f"total{m}", "total", width)};
% endfor
      ${name} = ${state("t", name)};
    }
% endif
</%def>\
<%def name="keep_total(prefix, column, width)">\
% if kernel == "totals":
% for m in maps:
    ${expr.store(compute, f"{prefix}{m}", compute, f"total{m}", f"chunk * (outer * inner) + {column}", width)}
% endfor
% endif
</%def>\
## One work-item's walk along `width` columns, or along `rows` rows side by side, of which each would wait
## for its own sum before the next element.
<%def name="walk(width, rows=1)">\
<%
V = expr.dtypes.c_type(compute, width)
step = "(n - 1 - position)" if s.reverse else "position"
%>\
% for r in range(rows):
    const index_t base${r} = (o + ${r}) * n * inner + column, here${r} = (o + ${r}) * inner + column;
% if kernel == "totals":
% for m in maps:
    ${V} c${r}${m} = (${V})(${"1" if m == "A" else "0"});
% endfor
% else:
${carry(f"state{r}", f"here{r}", width)}\
% endif
% endfor
% if s.blocked:
    for (index_t position = first; position < last;) {
      const index_t pause = min(last, position + ${s.block});
% for r in range(rows):
      ${V} part${r} = (${V})(0);
% endfor
      for (; position < pause; ++position) {
% for r in range(rows):
        {
          const index_t place = base${r} + ${step} * inner;
          ${element("place", width)}
% if s.exclusive:
          ${put(f"state{r} + part{r}", "place", width)}
% endif
          part${r} = part${r} + eB;
% if not s.exclusive:
          ${put(f"state{r} + part{r}", "place", width)}
% endif
        }
% endfor
      }
% for r in range(rows):
      ${f"c{r}B = c{r}B" if kernel == "totals" else f"state{r} = state{r}"} + part${r};
% endfor
    }
% else:
    for (index_t position = first; position < last; ++position) {
% for r in range(rows):
      {
        const index_t place = base${r} + ${step} * inner;
        ${element("place", width)}
% if kernel == "totals":
% for m, value in reversed(then(f"c{r}", "e").items()):
        c${r}${m} = ${value};
% endfor
% else:
% if s.exclusive:
        ${put(f"state{r}", "place", width)}
% endif
        state${r} = ${state("e", f"state{r}")};
% if not s.exclusive:
        ${put(f"state{r}", "place", width)}
% endif
% endif
      }
% endfor
    }
% endif
% for r in range(rows):
${keep_total(f"c{r}", f"here{r}", width)}\
% endfor
</%def>\
% if s.team > 1:
__attribute__((reqd_work_group_size(${s.team}, 1, 1)))
% endif
__kernel void ${name}(
    ${s.signature})
{
% for array in s.inputs:
  ${array} += ${array}_offset;
% endfor
% if kernel == "scan":
  y += y_offset;
% endif
  const index_t chunk = get_global_id(1);
  const index_t share = (n + ${s.chunks} - 1) / ${s.chunks};
  const index_t first = min(n, chunk * share), last = min(n, first + share);
% if s.team > 1:
  const int member = get_local_id(0);
% for m in maps:
  __local ${T} share${m}[2][${s.team}];
% endfor
  for (index_t here = get_group_id(0); here < outer * inner; here += get_num_groups(0)) {
    const index_t o = here / inner;
    const index_t base = o * n * inner + (here - o * inner);
% for m in maps:
    ${T} c${m} = ${one[m]};
% endfor
${carry("state", "here", 1)}\
    for (index_t tile = first; tile < last; tile += ${s.team * s.serial}) {
      const index_t mine = tile + member * ${s.serial};
      // The map of this work-item's elements.
% for m in maps:
      ${T} m${m} = ${one[m]};
% endfor
      for (index_t position = mine; position < min(last, mine + ${s.serial}); ++position) {
        ${element(f"base + {'(n - 1 - position)' if s.reverse else 'position'} * inner", 1)}
% for m, value in reversed(then("m", "e").items()):
        m${m} = ${value};
% endfor
      }
      int from = 0;
% for m in maps:
      share${m}[0][member] = m${m};
% endfor
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int reach = 1; reach < ${s.team}; reach <<= 1) {
        if (member >= reach) {
% for m in maps:
          const ${T} l${m} = share${m}[from][member - reach], r${m} = share${m}[from][member];
% endfor
% for m, value in then("l", "r").items():
          share${m}[1 - from][member] = ${value};
% endfor
        } else {
% for m in maps:
          share${m}[1 - from][member] = share${m}[from][member];
% endfor
        }
        from = 1 - from;
        barrier(CLK_LOCAL_MEM_FENCE);
      }
% for m in maps:
      const ${T} w${m} = share${m}[from][${s.team - 1}];
% endfor
% if kernel == "scan":
      ${T} s = state;
      if (member > 0) {
% for m in maps:
        const ${T} b${m} = share${m}[from][member - 1];
% endfor
        s = ${state("b", "state")};
      }
      for (index_t position = mine; position < min(last, mine + ${s.serial}); ++position) {
        const index_t place = base + ${"(n - 1 - position)" if s.reverse else "position"} * inner;
        ${element("place", 1)}
% if s.exclusive:
        ${put("s", "place", 1)}
% endif
        s = ${state("e", "s")};
% if not s.exclusive:
        ${put("s", "place", 1)}
% endif
      }
      state = ${state("w", "state")};
% endif
% for m, value in reversed(then("c", "w").items()):
      c${m} = ${value};
% endfor
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (member == 0) {
${keep_total("c", "here", 1)}\
    }
  }
% else:
  const index_t row_blocks = (inner + ${W - 1}) / ${W};
  const index_t units = outer * row_blocks;
% if s.gpu:
  for (index_t unit = get_global_id(0); unit < units; unit += get_global_size(0)) {
% else:
  const index_t unit_share = (units + get_global_size(0) - 1) / get_global_size(0);
  const index_t first_unit = get_global_id(0) * unit_share;
  const index_t last_unit = min(units, first_unit + unit_share);
  index_t unit = first_unit;
% if s.abreast > 1:
  for (; unit + ${s.abreast} <= last_unit; unit += ${s.abreast}) {
    const index_t o = unit, column = 0;
    ${walk(1, s.abreast)}
  }
% endif
  for (; unit < last_unit; ++unit) {
% endif
    const index_t o = unit / row_blocks;
    index_t column = (unit - o * row_blocks) * ${W};
    const index_t stop = min(inner, column + ${W});
% if W > 1:
    if (column + ${W} <= stop) {
      ${walk(W)}
      column = stop;
    }
% endif
    for (; column < stop; ++column) {
      ${walk(1)}
    }
  }
% endif
}
