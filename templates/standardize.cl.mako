## Rows standardised by their own mean and variance, then scaled and shifted (normalisation of layers, instances
## and groups):
##
##     y = gamma (x - mean) / sqrt(var + eps) + beta,   mean = sum(x) / n,   var = sum((x - mean)^2) / n
##
## Layout: x and y are (outer, n), C order; gamma and beta (n), or with PERIODIC (period), one for each of so
##   many rows, again and again; mean and var (outer), in the dtype that is computed in.
## The mean is found as p + sum(x - p) / n, p the row's first element: differences that are exact where the
##   elements are near each other and far from 0, so that neither mean nor variance suffers from cancellation
##   (the shifted two-pass algorithm: T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the
##   sample variance", 1983).
## CPU shape: a work-item takes a range of rows and runs over each three times, while it is in the cache, WIDTH
##   elements at a time; the last vector overlaps the one before it, and its first lanes do not count. With
##   STREAMS, y is stored past the caches.
## GPU shape: a work-group has COLUMNS rows and TEAM work-items for each, which join their sums by a tree in
##   local memory.
## Assumes: WIDTH is at most n; TEAM and COLUMNS are powers of two; nobody leaves before a barrier; y does not
##   overlap x. Sums of a lane or work-item are plain: the planner bounds n.
## Tunables: WIDTH, TEAM, COLUMNS (clgrad/kernels/rowwise.py).
<%namespace name="common" file="common.mako"/>\
<%
compute = expr.dtypes.compute_type(k.dtype)
T = expr.dtypes.c_type(compute)
W = k.width
TW = expr.dtypes.c_type(compute, W)
I = "long" if compute.itemsize == 8 else "int"
lane = f"({I}{W})({', '.join(map(str, range(W)))})"
CHAINS = 4  # of additions, so that they do not wait for each other
sums = [("shift", "x_"), ("square", "(x_ - shift) * (x_ - shift)")]
result = f"((x_ - shift) * scale) * {{gamma}} + {{beta}}"

def of_width(value, width):
    if k.periodic:
        return value.format(gamma="row_gamma", beta="row_beta")
    return value.format(**{a: expr.load(d, a, "j", width) for a, d in k.vectors.items()})
%>\
## What all elements of a row are scaled and shifted by.
<%def name="load_vectors(row)">\
% if k.periodic:
% for array, dtype in k.vectors.items():
    const ${T} row_${array} = ${expr.load(dtype, array, f"{row} % period")};
% endfor
% endif
</%def>\
## x - p, of which everything is made.
<%def name="load(at, width)" filter="trim">
${expr.load(k.dtype, "x", f"first + {at}", width)} - pivot
</%def>\
## What follows from a sum: of the differences, the mean's distance from p; of their squares, the variance.
<%def name="finish(name)">\
% if name == "shift":
    const ${T} shift = total_shift / n;
% else:
    const ${T} variance = total_square / n;
    const ${T} scale = rsqrt(variance + eps);
% endif
</%def>\
<%def name="store_moments()">\
    ${expr.store(compute, "pivot + shift", compute, "mean", "row")}
    ${expr.store(compute, "variance", compute, "var", "row")}
</%def>\
<%def name="by_vectors()">\
    const index_t first = row * n;
${load_vectors("row")}\
    const ${T} pivot = ${expr.load(k.dtype, "x", "first")};
% for name, term in sums:
    ${TW} ${", ".join(f"{name}_{u} = ({TW})(0)" for u in range(CHAINS))};
    index_t ${name}_j = 0;
    for (; ${name}_j + ${CHAINS * W} <= whole; ${name}_j += ${CHAINS * W}) {
% for u in range(CHAINS):
      { const ${TW} x_ = ${load(f"{name}_j + {u * W}", W)}; ${name}_${u} += ${term}; }
% endfor
    }
    for (; ${name}_j < whole; ${name}_j += ${W}) {
      const ${TW} x_ = ${load(f"{name}_j", W)};
      ${name}_0 += ${term};
    }
    ${TW} lanes_${name} = (${" + ".join(f"{name}_{u}" for u in range(CHAINS // 2))}) + (${" + ".join(f"{name}_{u}" for u in range(CHAINS // 2, CHAINS))});
% if W > 1:
    if (whole < n) {
      const ${TW} x_ = ${load(f"n - {W}", W)};
      lanes_${name} += select(${term}, (${TW})(0), seen);
    }
% endif
<% size, current = W, f"lanes_{name}" %>\
% while size > 1:
<% size //= 2; part = f"{name}{size}" %>\
    const ${expr.dtypes.c_type(compute, size)} ${part} = ${current}.lo + ${current}.hi;
<% current = part %>\
% endwhile
    const ${T} total_${name} = ${current};
${finish(name)}\
% endfor
    for (index_t j = 0; j < whole; j += ${W}) {
      const ${TW} x_ = ${load("j", W)};
      const ${TW} result = ${of_width(result, W)};
      ${expr.store(k.dtype, "result", compute, "y", "first + j", W, k.streams)}
    }
% if W > 1:
    if (whole < n) {
      const index_t j = n - ${W};
      const ${TW} x_ = ${load("j", W)};
      const ${TW} result = ${of_width(result, W)};
      ${expr.store(k.dtype, "result", compute, "y", "first + j", W, k.streams)}
    }
% endif
${store_moments()}\
</%def>\
<%def name="by_team()">\
% for name, term in sums:
  ${T} total_${name} = 0;
  for (index_t j = member; j < end; j += ${k.team}) {
    const ${T} x_ = ${load("j", 1)};
    total_${name} += ${term};
  }
% if k.team > 1:
  shared[slot] = total_${name};
  for (int half_team = ${k.team // 2}; half_team > 0; half_team /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (member < half_team) shared[slot] = total_${name} = total_${name} + shared[slot + half_team * ${k.columns}];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  total_${name} = shared[own_row];
  barrier(CLK_LOCAL_MEM_FENCE);
% endif
${finish(name)}\
% endfor
  for (index_t j = member; j < end; j += ${k.team}) {
    const ${T} x_ = ${load("j", 1)};
    const ${T} result = ${of_width(result, 1)};
    ${expr.store(k.dtype, "result", compute, "y", "first + j")}
  }
  if (member == 0 && row < outer) {
${store_moments()}\
  }
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
% if k.gpu:
  const int member = get_local_id(0) % ${k.team}, own_row = get_local_id(0) / ${k.team};
% if k.team > 1:
  __local ${T} shared[${k.team * k.columns}];
  const int slot = member * ${k.columns} + own_row;
% endif
  const index_t row = (index_t)get_group_id(0) * ${k.columns} + own_row;
  const index_t first = min(row, outer - 1) * n;
  // A row that does not exist is empty: its work-items only keep the barriers complete.
  const index_t end = row < outer ? n : 0;
  const ${T} pivot = ${expr.load(k.dtype, "x", "first")};
${load_vectors("min(row, outer - 1)")}\
${by_team()}\
% else:
  const index_t whole = n - n % ${W};
% if W > 1:
  const ${I}${W} seen = ${lane} < (${I}${W})(${W} - (int)(n - whole));
% endif
  const index_t share = (outer + get_global_size(0) - 1) / get_global_size(0);
  const index_t first_row = get_global_id(0) * share;
  const index_t last_row = min(outer, first_row + share);
  for (index_t row = first_row; row < last_row; ++row) {
${by_vectors()}\
  }
% if k.streams:
  ${common.streamed()}
% endif
% endif
}
