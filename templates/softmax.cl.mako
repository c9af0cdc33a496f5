## Softmax or log-softmax over one axis, or the gradient of one of them. With s = 1 / temperature:
##
##     softmax        y = exp(s (x - m)) / sum exp(s (x - m))       m: largest x (smallest, for s < 0)
##     log-softmax    y = s (x - m) - log(sum exp(s (x - m)))
##     gradients      dx = s y (dy - sum dy y),  dx = s (dy - exp(y) sum dy)
##
## Layout: arrays are (outer, n, inner), C order; a column is the n elements of one (outer, inner).
##   With LENGTHS, (outer, inner) of them, only the first lengths[column] elements of a column count, and y is
##   0 behind them.
## m ignores NaN; the sum does not, so a column that holds NaN becomes NaN.
## CPU shape: a work-item takes a range of columns and runs over each two or three times, while it is in
##   the cache. inner == 1: WIDTH elements of one column at a time; what is left of a column is padded, for
##   the sake of exp. inner > 1: WIDTH neighbouring columns at a time, what is left of them one by one.
##   Between its passes, softmax keeps the exponentials in y; for float16 it computes them again.
## GPU shape: a work-group has COLUMNS neighbouring columns and TEAM work-items for each, which share its
##   elements and join what they found by a tree in local memory. Work-items are numbered so that neighbours
##   read neighbouring addresses.
## Assumes: TEAM and COLUMNS are powers of two; nobody leaves before a barrier; y does not overlap x.
## Tunables: WIDTH, TEAM, COLUMNS (clgrad/kernels/rowwise.py).
<%namespace name="common" file="common.mako"/>\
<%
compute = expr.dtypes.compute_type(k.dtype)
T = expr.dtypes.c_type(compute)
W = k.width
rows = k.inner == 1
lit = lambda value: expr.c_literal(value, compute)
sign = ">" if k.scale > 0 else "<"
worst = "-INFINITY" if k.scale > 0 else "INFINITY"
keep = not (k.gradient or k.log or k.gpu) and k.dtype == compute
times = lambda text: text if k.scale == 1 else f"{text} * {lit(k.scale)}"
scaled = times("(x_ - extreme)")

def vector(lanes):
    return f"{T}{lanes}" if lanes > 1 else T

def larger(a, b, lanes):
    return f"select({a}, {b}, {b} {sign} {a})" if lanes > 1 else f"{b} {sign} {a} ? {b} : {a}"

def plus(a, b, lanes):
    return f"{a} + {b}"

# Passes: what each reads (with the value that pads it), adds up by `join`, and stores. An array's elements
# are called after it: x_, y_, dy_.
if k.gradient:
    both = {"dy": "0", "y": "0"}
    reads = {"dy": "0"} if k.log else both
    reductions = [("sum", "0", plus, reads, "dy_" if k.log else "dy_ * y_", None)]
    value = times("(dy_ - exp(y_) * sum)" if k.log else "y_ * (dy_ - sum)")
    final, target = (both, value), "dx"
else:
    x = {"x": worst}
    reductions = [
        ("extreme", worst, larger, x, "x_", None),
        ("sum", "0", plus, x, f"exp({scaled})", "y" if keep else None),
    ]
    if k.log:
        final = (x, f"{scaled} - log_sum")
    else:
        final = ({"y": "0"}, "y_ * factor") if keep else (x, f"exp({scaled}) * factor")
    target = "y"
%>\
## What follows from the sum, once it is known.
<%def name="derive(lanes)">\
% if k.log and not k.gradient:
    const ${vector(lanes)} log_sum = log(sum);
% elif not k.gradient:
    const ${vector(lanes)} factor = 1 / sum;
% endif
</%def>\
## One step at `at`: loads, then adds to `total` (with `join`), then stores into array `into`.
<%def name="step(reads, total, join, term, into, lanes)">\
% for array in reads:
      const ${vector(lanes)} ${array}_ = ${expr.load(k.dtype, array, "at", lanes)};
% endfor
${combine(total, join, term, into, lanes)}\
% if into:
      ${expr.store(k.dtype, "term", compute, into, "at", lanes)}
% endif
</%def>\
<%def name="combine(total, join, term, into, lanes)">\
      const ${vector(lanes)} term = ${term};
% if total:
      ${total} = ${join(total, "term", lanes)};
% endif
</%def>\
## Where the elements of a column that count end.
<%def name="end_of(column)">\
% if k.lengths:
min(n, max((index_t)0, (index_t)(${expr.load(k.lengths, "lengths", column)})))\
% else:
n\
% endif
</%def>\
<%def name="clear_rest(begin, stride, last='n')">\
% if k.lengths:
    for (index_t j = ${begin}; j < ${last}; j += ${stride}) {
      ${expr.store(k.dtype, lit(0), compute, "y", "first + j * inner")}
    }
% endif
</%def>\
## ---- CPU, inner == 1: vectors along a column ----------------------------------------------------------
<%def name="along_column(reads, total, join, term, into)">\
    {
      index_t j = 0;
% if W > 1:
      for (; j + ${W} <= end; j += ${W}) {
        const index_t at = first + j;
${step(reads, total, join, term, into, W)}\
      }
      if (j < end) {
% for array, pad in reads.items():
        const ${vector(W)} ${array}_ = (${vector(W)})(${", ".join(
            f"j + {i} < end ? {expr.load(k.dtype, array, f'first + j + {i}')} : {pad}" for i in range(W))});
% endfor
${combine(total, join, term, into, W)}\
% if into:
%   for i in range(W):
        if (j + ${i} < end) ${expr.store(k.dtype, f"term.s{i:x}", compute, into, f"first + j + {i}")}
%   endfor
% endif
      }
% else:
      for (; j < end; ++j) {
        const index_t at = first + j;
${step(reads, total, join, term, into, 1)}\
      }
% endif
    }
</%def>\
## Folds a vector in halves, down to a scalar.
<%def name="fold(name, join)">\
<% lanes = W; current = f"{name}_lanes" %>\
% while lanes > 1:
<% lanes //= 2; half_name = f"{name}{lanes}" %>\
    const ${vector(lanes)} ${half_name} = ${join(f"{current}.lo", f"{current}.hi", lanes)};
<% current = half_name %>\
% endwhile
    const ${T} ${name} = ${current};
</%def>\
<%def name="column_of_row()">\
    const index_t first = column * n, end = ${end_of("column")};
% for name, start, join, reads, term, into in reductions:
    ${vector(W)} ${name}_lanes = (${vector(W)})(${start});
${along_column(reads, f"{name}_lanes", join, term, into)}\
${fold(name, join)}\
% endfor
${derive(1)}\
${along_column(final[0], None, None, final[1], target)}\
${clear_rest("end", 1)}\
</%def>\
## ---- CPU, inner > 1: vectors across columns -------------------------------------------------------------
<%def name="across_columns(lanes)">\
    const index_t end = ${end_of("row * inner + column")};
% for name, start, join, reads, term, into in reductions:
    ${vector(lanes)} ${name} = (${vector(lanes)})(${start});
    for (index_t j = 0; j < end; ++j) {
      const index_t at = first + j * inner;
${step(reads, name, join, term, into, lanes)}\
    }
% endfor
${derive(lanes)}\
    for (index_t j = 0; j < end; ++j) {
      const index_t at = first + j * inner;
${step(final[0], None, None, final[1], target, lanes)}\
    }
${clear_rest("end", 1)}\
</%def>\
## ---- GPU: a team for each column --------------------------------------------------------------------------
<%def name="by_team()">\
% for name, start, join, reads, term, into in reductions:
  ${T} ${name} = ${start};
  for (index_t j = member; j < end; j += ${k.team}) {
    const index_t at = first + j * inner;
${step(reads, name, join, term, into, 1)}\
  }
% if k.team > 1:
  shared[slot] = ${name};
  for (int half_team = ${k.team // 2}; half_team > 0; half_team /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (member < half_team) {
      const ${T} other = shared[slot + half_team * ${k.columns}];
      shared[slot] = ${name} = ${join(name, "other", 1)};
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  ${name} = shared[own_column];
  barrier(CLK_LOCAL_MEM_FENCE);
% endif
% endfor
${derive(1)}\
  for (index_t j = member; j < end; j += ${k.team}) {
    const index_t at = first + j * inner;
${step(final[0], None, None, final[1], target, 1)}\
  }
% if k.lengths:
  const index_t last = column < columns ? n : 0;
% endif
${clear_rest("end + member", k.team, "last")}\
</%def>\
${common.prologue(k.signature, [])}
% if k.gpu:
__attribute__((reqd_work_group_size(${k.team * k.columns}, 1, 1)))
% endif
__kernel void ${k.name}(
    ${k.signature})
{
% for array in (("dy", "y", "dx") if k.gradient else ("x", "y")) + (("lengths",) if k.lengths else ()):
  ${array} += ${array}_offset;
% endfor
% if k.gpu:
% if rows:
  const int member = get_local_id(0) % ${k.team}, own_column = get_local_id(0) / ${k.team};
% else:
  const int member = get_local_id(0) / ${k.columns}, own_column = get_local_id(0) % ${k.columns};
% endif
% if k.team > 1:
  __local ${T} shared[${k.team * k.columns}];
  const int slot = member * ${k.columns} + own_column;
% endif
  const index_t column = (index_t)get_group_id(0) * ${k.columns} + own_column;
  const index_t columns = outer * inner, real_column = min(column, columns - 1);
  const index_t first = real_column / inner * n * inner + real_column % inner;
  // A column that does not exist is empty: its work-items only keep the barriers complete.
  const index_t end = column < columns ? ${end_of("real_column")} : 0;
${by_team()}\
% else:
% if rows:
  const index_t blocks = outer;
% else:
  const index_t row_blocks = (inner + ${W - 1}) / ${W};
  const index_t blocks = outer * row_blocks;
% endif
  const index_t share = (blocks + get_global_size(0) - 1) / get_global_size(0);
  const index_t first_block = get_global_id(0) * share;
  const index_t last_block = min(blocks, first_block + share);
  for (index_t block = first_block; block < last_block; ++block) {
% if rows:
    const index_t column = block;
${column_of_row()}\
% else:
    const index_t row = block / row_blocks;
    index_t column = (block - row * row_blocks) * ${W};
    const index_t stop = min(inner, column + ${W});
% if W > 1:
    if (column + ${W} <= stop) {
      const index_t first = row * n * inner + column;
${across_columns(W)}\
      column += ${W};
    }
% endif
    for (; column < stop; ++column) {
      const index_t first = row * n * inner + column;
${across_columns(1)}\
    }
% endif
  }
% endif
}
