## Softmax or log-softmax over one axis, or the gradient of one of them; or, with LABELS, the cross-entropy of
## rows with the labels of their classes, or its gradient. With s = 1 / temperature:
##
##     softmax        y = exp(s (x - m)) / sum exp(s (x - m))       m: largest x (smallest, for s < 0)
##     log-softmax    y = s (x - m) - log(sum exp(s (x - m)))
##     gradients      dx = s y (dy - sum dy y),  dx = s (dy - exp(y) sum dy)
##     cross-entropy  losses = log(sum exp(x - m)) - (x[label] - m), summed over the rows of a work-item on a
##                    CPU, one for each row on a GPU, or with APART everywhere
##     its gradient   y = (softmax(x) - (1 at the label)) * grad[0], with APART grad[row]
##
## Layout: arrays are (outer, n, inner), C order; a column is the n elements of one (outer, inner).
##   With LENGTHS, (outer, inner) of them, only the first lengths[column] elements of a column count, and y is
##   0 behind them. A label outside 0 to n - 1 is moved to the nearest of them; NaN is 0.
## m ignores NaN; the sum does not, so a column that holds NaN becomes NaN.
## CPU shape: a work-item takes a range of columns and runs over each two or three times, while it is in
##   the cache. inner == 1: WIDTH elements of one column at a time; the last vector overlaps the one before
##   it (with LENGTHS, it is padded). SHORT columns, of WIDTH elements at most, are one vector with padding,
##   which stays in a register; n is a constant then. inner > 1: WIDTH neighbouring columns at a time, what is
##   left of them one by one. HELD columns are few enough elements to be read once and kept in variables (they
##   lie far apart, and where these distances are powers of two, a cache holds few of them); n is a constant
##   then, too. Otherwise, softmax keeps the exponentials in y between its passes; for float16 it computes
##   them again. With STREAMS, results that are not read again are stored past the caches.
## GPU shape: a work-group has COLUMNS neighbouring columns and TEAM work-items for each, which share its
##   elements and join what they found by a tree in local memory. Work-items are numbered so that neighbours
##   read neighbouring addresses.
##   Losses are added to the sum of a work-item BLOCK at a time, so that errors do not grow with the rows.
## Assumes: TEAM and COLUMNS are powers of two; nobody leaves before a barrier; y does not overlap x.
## Tunables: WIDTH, TEAM, COLUMNS (clgrad/kernels/rowwise.py).
<%namespace name="common" file="common.mako"/>\
<%
compute = expr.dtypes.compute_type(k.dtype)
T = expr.dtypes.c_type(compute)
W = k.width
rows = k.inner == 1
lit = lambda value: expr.c_literal(value, compute)
BLOCK = 64
sign = ">" if k.scale > 0 else "<"
worst = "-INFINITY" if k.scale > 0 else "INFINITY"
loss = k.labels and not k.gradient
softmax_gradient = k.gradient and not k.labels
keep = not (softmax_gradient or loss or k.log or k.gpu) and k.dtype == compute
I = "long" if compute.itemsize == 8 else "int"
lane = f"({I}{W})({', '.join(map(str, range(W)))})"
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
if softmax_gradient:
    everything = {"dy": "0", "y": "0"}
    reads = {"dy": "0"} if k.log else everything
    reductions = [("sum", "0", plus, reads, "dy_" if k.log else "dy_ * y_", None)]
    value = times("(dy_ - exp(y_) * sum)" if k.log else "y_ * (dy_ - sum)")
    final, target = (everything, value), "dx"
else:
    everything = x = {"x": worst}
    reductions = [
        ("extreme", worst, larger, x, "x_", None),
        ("sum", "0", plus, x, f"exp({scaled})", "y" if keep else None),
    ]
    if k.log:
        final = (x, f"{scaled} - log_sum")
    else:
        final = ({"y": "0"}, "y_ * factor") if keep else (x, f"exp({scaled}) * factor")
    if loss:
        final = None
    elif k.labels and k.gpu:
        final = (x, f"(exp({scaled}) * factor - (j == place ? 1 : 0)) * slope")
    elif k.labels and k.short:
        final = (final[0], f"({final[1]} - select(({T}{W})(0), ({T}{W})(1), {lane} == ({I}{W})(place))) * slope")
    elif k.labels:
        final = (final[0], f"{final[1]} * slope")
    target = "y"

def pieces():
    """The elements of a short column as vectors: (where each starts, its width)."""
    at = 0
    while at < k.n:
        width = 1 << ((k.n - at).bit_length() - 1)
        yield at, width
        at += width

def padded(array, pad):
    """C expression that loads a short column, with padding."""
    loads = [expr.load(k.dtype, array, f"first + {at}", width) for at, width in pieces()]
    return f"({T}{W})({', '.join(loads + [pad] * (W - k.n))})"
%>\
## What follows from the sum, once it is known.
<%def name="derive(lanes)">\
% if loss:
    const ${T} row_loss = log(sum) - (${expr.load(k.dtype, "x", "first + place")} - extreme);
% elif k.log and not k.gradient:
    const ${vector(lanes)} log_sum = log(sum);
% elif not softmax_gradient:
    const ${vector(lanes)} factor = 1 / sum;
% endif
</%def>\
## Statement that stores elements of an array; results that are not read again may go past the caches.
<%def name="put(into, value, at, lanes)" filter="trim">
${expr.store(k.dtype, value, compute, into, at, lanes, k.streams and into == target)}
</%def>\
## One step at `at`: loads, then adds to `total` (with `join`), then stores into array `into`.
<%def name="step(reads, total, join, term, into, lanes)">\
% for array in reads:
      const ${vector(lanes)} ${array}_ = ${expr.load(k.dtype, array, "at", lanes)};
% endfor
${combine(total, join, term, into, lanes)}\
% if into:
      ${put(into, "term", "at", lanes)}
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
## The class that a row is labelled with: its place in the row.
<%def name="find_label(column)">\
% if k.labels:
    const ${expr.dtypes.c_type(expr.dtypes.compute_type(k.labels))} label = ${expr.load(k.labels, "labels", column)};
    const index_t place = label > 0 ? (label < n - 1 ? (index_t)label : n - 1) : 0;
% endif
% if k.labels and k.gradient and k.apart:
    const ${T} slope = ${expr.load(k.dtype, "grad", column)};
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
% if k.lengths:
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
      if (j < end) {
        // The first lanes have been seen: they count no more, and what they store is what is there.
        const ${I}${W} seen = ${lane} < (${I}${W})(${W} - (int)(end - j));
        const index_t at = first + end - ${W};
% for array in reads:
        const ${vector(W)} ${array}_ = ${expr.load(k.dtype, array, "at", W)};
% endfor
<% again = into in reads; value = f"select({term}, {into}_, seen)" if again else term %>\
        const ${vector(W)} term = ${value};
% if into:
        ${put(into, "term", "at", W)}
% endif
% if total:
        ${total} = select(${join(total, "term", W)}, ${total}, seen);
% endif
      }
% endif
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
<%def name="short_column()">\
    const index_t first = column * n;
${find_label("column")}\
% if k.lengths:
    const ${I}${W} inside = ${lane} < (${I}${W})(${end_of("column")});
% endif
% for array, pad in everything.items():
<% load = padded(array, pad) %>\
    const ${vector(W)} ${array}_ = ${f"select(({vector(W)})({pad}), {load}, inside)" if k.lengths else load};
% endfor
% for name, start, join, reads, term, into in reductions:
    const ${vector(W)} ${f"{name}_lanes" if into is None else f"{into}_"} = ${term};
% if into:
    const ${vector(W)} ${name}_lanes = ${into}_;
% endif
${fold(name, join)}\
% endfor
${derive(1)}\
% if final:
    const ${vector(W)} term = ${f"select(({vector(W)})(0), {final[1]}, inside)" if k.lengths else final[1]};
% for at, width in pieces():
<% value = "term" if width == W else f"term.s{''.join(f'{at + i:x}' for i in range(width))}" %>\
    ${put(target, value, f"first + {at}", width)}
% endfor
% endif
</%def>\
<%def name="column_of_row()">\
    const index_t first = column * n, end = ${end_of("column")};
${find_label("column")}\
% for name, start, join, reads, term, into in reductions:
    ${vector(W)} ${name}_lanes = (${vector(W)})(${start});
${along_column(reads, f"{name}_lanes", join, term, into)}\
${fold(name, join)}\
% endfor
${derive(1)}\
% if final:
${along_column(final[0], None, None, final[1], target)}\
% endif
% if k.labels and final:
    const ${T} own = (exp(${expr.load(k.dtype, "x", "first + place")} - extreme) * factor - 1) * slope;
    ${expr.store(k.dtype, "own", compute, "y", "first + place")}
% endif
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
## One step for each element of HELD columns: its values have been read, or are of an earlier step.
<%def name="held_steps(reads, total, join, term, into)">\
% for j in range(k.n):
    {
% for array in reads:
      const ${vector(W)} ${array}_ = ${array}_${j};
% endfor
${combine(total, join, term, into, W)}\
% if total and into:
      ${into}_${j} = term;
% elif into:
      ${put(into, "term", f"first + {j} * inner", W)}
% endif
    }
% endfor
</%def>\
<%def name="held_columns()">\
% for j in range(k.n):
% for array in everything:
    const ${vector(W)} ${array}_${j} = ${expr.load(k.dtype, array, f"first + {j} * inner", W)};
% endfor
% endfor
% if keep:
    ${vector(W)} ${", ".join(f"y_{j}" for j in range(k.n))};
% endif
% for name, start, join, reads, term, into in reductions:
    ${vector(W)} ${name} = (${vector(W)})(${start});
${held_steps(reads, name, join, term, into)}\
% endfor
${derive(W)}\
${held_steps(final[0], None, None, final[1], target)}\
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
% if final:
  for (index_t j = member; j < end; j += ${k.team}) {
    const index_t at = first + j * inner;
${step(final[0], None, None, final[1], target, 1)}\
  }
% else:
  if (member == 0 && column < columns) ${expr.store(k.losses, "row_loss", compute, "losses", "column")}
% endif
% if k.lengths:
  const index_t last = column < columns ? n : 0;
% endif
${clear_rest("end + member", k.team, "last")}\
</%def>\
${common.prologue(k.signature, [])}
% if k.streams:
${common.streaming()}
% endif
% if k.gpu:
__attribute__((reqd_work_group_size(${k.team * k.columns}, 1, 1)))
% endif
__kernel void ${k.name}(
    ${k.signature})
{
% for array in k.arrays:
  ${array} += ${array}_offset;
% endfor
% if k.labels and k.gradient and not k.apart:
  const ${T} slope = ${expr.load(k.dtype, "grad", "0")};
% endif
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
${find_label("real_column")}\
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
% if loss and not k.apart:
  ${T} total = 0, part = 0;
% endif
  for (index_t block = first_block; block < last_block; ++block) {
% if rows:
    const index_t column = block;
${short_column() if k.short else column_of_row()}\
% if loss and k.apart:
    ${expr.store(k.losses, "row_loss", compute, "losses", "column")}
% elif loss:
    part += row_loss;
    if ((block - first_block) % ${BLOCK} == ${BLOCK - 1}) {
      total += part;
      part = 0;
    }
% endif
% else:
    const index_t row = block / row_blocks;
    index_t column = (block - row * row_blocks) * ${W};
    const index_t stop = min(inner, column + ${W});
% if W > 1:
    if (column + ${W} <= stop) {
      const index_t first = row * n * inner + column;
${held_columns() if k.held else across_columns(W)}\
      column += ${W};
    }
% endif
    for (; column < stop; ++column) {
      const index_t first = row * n * inner + column;
${across_columns(1)}\
    }
% endif
  }
% if k.streams:
  ${common.streamed()}
% endif
% if loss and not k.apart:
  ${expr.store(k.losses, "total + part", compute, "losses", "get_global_id(0)")}
% endif
% endif
}
