## What the kernels of matrix factorisations share. A work-group, the team, has one matrix.
##
## `t` is a kernels/factorisation.py Team: TX x TY work-items, of which neighbours along x take
## neighbouring columns; on CPUs one work-item, which takes WIDTH columns at a time. Matrices are in global
## memory; barriers between the phases make what one member has written visible to the others. Loops that
## hold barriers have the same bounds for all members. Barriers are few, since each costs every member's
## time, and since PoCL 3.0 copies what follows a loop that has one: with a tree where the members join what
## they found, or with all phases of a factorisation in one kernel, it compiles for minutes. PoCL also drops
## what one member alone does between a barrier and a loop that has one: let it do so before the barrier.

## Opens the block that has one `matrix`; the caller closes it.
<%def name="begin(t)">\
% if t.size > 1:
  const int member = get_local_id(0), tx = member % ${t.tx}, ty = member / ${t.tx};
  const index_t matrix = get_group_id(0);
  {
% else:
  const int member = 0, tx = 0, ty = 0;
  for (index_t matrix = get_global_id(0); matrix < batch; matrix += get_global_size(0)) {
% endif
</%def>

<%def name="attributes(t)">\
% if t.size > 1:
__attribute__((reqd_work_group_size(${t.size}, 1, 1)))
% endif
</%def>

<%def name="sync(t)">\
% if t.size > 1:
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
% endif
</%def>

## target[j] -= factor * source[j] for begin <= j < end, shared by the members of one ty.
<%def name="subtract_row(t, target, source, factor, begin, end)">\
% if t.width > 1:
<% V = f"{t.T}{t.width}" %>\
      {
        index_t j = ${begin};
        for (; j + ${t.width} <= ${end}; j += ${t.width})
          vstore${t.width}(vload${t.width}(0, ${target} + j) - (${V})(${factor}) * vload${t.width}(0, ${source} + j), 0, ${target} + j);
        for (; j < ${end}; ++j) ${target}[j] -= ${factor} * ${source}[j];
      }
% else:
      for (index_t j = ${begin} + tx; j < ${end}; j += ${t.tx}) ${target}[j] -= ${factor} * ${source}[j];
% endif
</%def>

## `name`: this member's part of the sum of a[j] * b[j] over begin <= j < end.
<%def name="partial_dot(t, name, a, b, begin, end)">\
      ${t.T} ${name} = 0;
% if t.width > 1:
<% V = f"{t.T}{t.width}"; lanes = t.width; current = f"{name}_lanes" %>\
      {
        index_t j = ${begin};
        ${V} ${name}_lanes = (${V})(0);
        for (; j + ${t.width} <= ${end}; j += ${t.width})
          ${name}_lanes += vload${t.width}(0, ${a} + j) * vload${t.width}(0, ${b} + j);
        for (; j < ${end}; ++j) ${name} += ${a}[j] * ${b}[j];
% while lanes > 1:
<% lanes //= 2; half_name = f"{name}{lanes}" %>\
        const ${t.T}${lanes if lanes > 1 else ""} ${half_name} = ${current}.lo + ${current}.hi;
<% current = half_name %>\
% endwhile
        ${name} += ${current};
      }
% else:
      for (index_t j = ${begin} + tx; j < ${end}; j += ${t.tx}) ${name} += ${a}[j] * ${b}[j];
% endif
</%def>

## Sums what the members of one ty hold in `name`, in an order that is always the same. All take part.
<%def name="sum_row(t, name)">\
% if t.tx > 1:
      shared[member] = ${name};
      barrier(CLK_LOCAL_MEM_FENCE);
      ${name} = 0;
      for (int other = 0; other < ${t.tx}; ++other) ${name} += shared[ty * ${t.tx} + other];
      barrier(CLK_LOCAL_MEM_FENCE);
% endif
</%def>

## Joins what all members hold in `name` to `join(a, b)`. All take part.
<%def name="join_all(t, name, join)">\
% if t.size > 1:
      shared[member] = ${name};
      barrier(CLK_LOCAL_MEM_FENCE);
      ${name} = shared[0];
      for (int other = 1; other < ${t.size}; ++other) ${name} = ${join(name, "shared[other]")};
      barrier(CLK_LOCAL_MEM_FENCE);
% endif
</%def>

## The Householder reflector I - tau v v^T that takes the row x[begin..end) to (beta, 0, ..., 0):
## declares tau_ and beta, stores them, and writes v over x, v[begin] being 1. (Golub & Van Loan, Matrix
## Computations, 5.1; beta has the opposite sign of x[begin], and tau is 0 where there is nothing to do,
## both as in LAPACK.) The row is divided by its largest element first, lest squares overflow
## or small numbers lose digits.
<%def name="reflector(t, x, begin, end, beta_place, tau_place)">\
    ${t.T} largest = 0;
    for (index_t j = ${begin} + 1 + member; j < ${end}; j += ${t.size}) largest = fmax(largest, fabs(${x}[j]));
${join_all(t, "largest", lambda a, b: f"fmax({a}, {b})")}\
    const ${t.T} alpha = ${x}[${begin}];
    const ${t.T} unit = fmax(largest, fabs(alpha));
    ${t.T} squares = 0;
    if (largest != 0)
      for (index_t j = ${begin} + 1 + member; j < ${end}; j += ${t.size}) {
        const ${t.T} scaled = ${x}[j] / unit;
        squares += scaled * scaled;
      }
${join_all(t, "squares", lambda a, b: f"{a} + {b}")}\
    ${t.T} tau_ = 0, beta = alpha;
    if (largest != 0) {
      const ${t.T} scaled_alpha = alpha / unit, norm = sqrt(scaled_alpha * scaled_alpha + squares);
      const ${t.T} scaled_beta = alpha < 0 ? norm : -norm;
      beta = scaled_beta * unit;
      tau_ = (scaled_beta - scaled_alpha) / scaled_beta;
      for (index_t j = ${begin} + 1 + member; j < ${end}; j += ${t.size})
        ${x}[j] = ${x}[j] / unit / (scaled_alpha - scaled_beta);
    }
    if (member == 0) {
      ${x}[${begin}] = 1;
      ${beta_place} = beta;
      ${tau_place} = tau_;
    }
${sync(t)}\
</%def>

## Applies I - tau v v^T from the right to rows first <= i < last of a matrix with n columns: v is the row
## v[begin..n), of which v[begin] holds 1.
<%def name="reflect_rows(t, matrix, n, v, begin, first, last)">\
    for (index_t base = ${first}; base < ${last}; base += ${t.ty}) {
      const index_t i = base + ty, end = i < ${last} ? ${n} : 0;  // no row: only keeps barriers complete
      __global ${t.T} *row = ${matrix} + min(i, ${last} - 1) * ${n};
${partial_dot(t, "along", "row", v, begin, "end")}\
${sum_row(t, "along")}\
      along *= tau_;
${subtract_row(t, "row", v, "along", begin, "end")}\
    }
${sync(t)}\
</%def>
