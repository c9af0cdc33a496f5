## Gradient of rows standardised by their own mean and variance (layer normalisation), from dy, x and the
## moments. With s = 1 / sqrt(var + eps), z = (x - mean) s and g = dy gamma:
##
##     dx = s (g - (sum(g) + z sum(g z)) / n)        d_beta = sum of dy,  d_gamma = sum of dy z over the rows
##
## Layout: grad, x and dx are (outer, n), C order; mean and var (outer), in the dtype that is computed in;
##   gamma (n). d_gamma and d_beta are (work-items, n): what each work-item has found, which a second launch
##   adds up.
## CPU shape: a work-item takes a range of rows and runs over each twice, while it is in the cache, WIDTH
##   elements at a time; the last vector overlaps the one before it, and its first lanes do not count. With
##   STREAMS, dx is stored past the caches.
## GPU shape: a work-group has COLUMNS rows and TEAM work-items for each, which join their sums by a tree in
##   local memory. The sums over rows are another kernel's (kernels/reduce.py).
## Assumes: WIDTH is at most n; TEAM and COLUMNS are powers of two; nobody leaves before a barrier; dx does not
##   overlap what is read. Sums of a lane or work-item are plain: the planner bounds n, and a work-item's rows.
## Tunables: WIDTH, TEAM, COLUMNS (clgrad/kernels/rowwise.py).
<%namespace name="common" file="common.mako"/>\
<%
compute = expr.dtypes.compute_type(k.dtype)
T = expr.dtypes.c_type(compute)
W = k.width
TW = expr.dtypes.c_type(compute, W)
I = "long" if compute.itemsize == 8 else "int"
lane = f"({I}{W})({', '.join(map(str, range(W)))})"
CHAINS = 2 if W > 1 else 1  # of each sum's additions, so that they do not wait for each other
%>\
## dy_, c_ = x - mean and g_ of the elements from j on.
<%def name="load(at, width)">\
      const ${expr.dtypes.c_type(compute, width)} dy_ = ${expr.load(k.dtype, "grad", f"first + {at}", width)};
      const ${expr.dtypes.c_type(compute, width)} c_ = ${expr.load(k.dtype, "x", f"first + {at}", width)} - row_mean;
      const ${expr.dtypes.c_type(compute, width)} g_ = dy_ * ${expr.load(k.vectors["gamma"], "gamma", at, width)};
</%def>\
<%def name="begin()">\
    const index_t first = ${"row" if not k.gpu else "real_row"} * n;
    const ${T} row_mean = ${expr.load(compute, "mean", "row" if not k.gpu else "real_row")};
    const ${T} scale = rsqrt(${expr.load(compute, "var", "row" if not k.gpu else "real_row")} + eps);
</%def>\
<%def name="store(at, width)">\
      ${expr.store(k.dtype, "scale * (g_ - c_ * slope - level)", compute, "dx", f"first + {at}", width, k.streams)}
</%def>\
## z sum(g z) / n = c slope; in an order in which nothing overflows before dx does.
<%def name="derive()">\
    const ${T} slope = total_moment * scale / n * scale, level = total_g / n;
</%def>\
## Adds this vector to the sums of the row, and to those over rows.
<%def name="take(at, chain, width, seen)">\
${load(at, width)}\
<% mine = lambda value: f"select({value}, ({TW})(0), seen)" if seen else value %>\
      sum_g_${chain} += ${mine("g_")};
      sum_moment_${chain} += ${mine("g_ * c_")};
% for array, term in (("d_gamma", "dy_ * (c_ * scale)"), ("d_beta", "dy_")):
      ${expr.store(compute, f"{expr.load(compute, array, f'own + {at}', width)} + {mine(term)}", compute, array, f"own + {at}", width)}
% endfor
</%def>\
<%def name="by_vectors()">\
${begin()}\
    ${TW} ${", ".join(f"sum_{name}_{u} = ({TW})(0)" for name in ("g", "moment") for u in range(CHAINS))};
    index_t at = 0;
% if CHAINS > 1:
    for (; at + ${CHAINS * W} <= whole; at += ${CHAINS * W}) {
% for u in range(CHAINS):
      {
      const index_t j = at + ${u * W};
${take("j", u, W, False)}\
      }
% endfor
    }
% endif
    for (; at < whole; at += ${W}) {
${take("at", 0, W, False)}\
    }
% if W > 1:
    if (whole < n) {
      const index_t j = n - ${W};
${take("j", 0, W, True)}\
    }
% endif
% for name in ("g", "moment"):
<% size, current = W, f"lanes_{name}" %>\
    const ${TW} ${current} = ${" + ".join(f"sum_{name}_{u}" for u in range(CHAINS))};
% while size > 1:
<% size //= 2; part = f"{name}{size}" %>\
    const ${expr.dtypes.c_type(compute, size)} ${part} = ${current}.lo + ${current}.hi;
<% current = part %>\
% endwhile
    const ${T} total_${name} = ${current};
% endfor
${derive()}\
    for (index_t j = 0; j < whole; j += ${W}) {
${load("j", W)}\
${store("j", W)}\
    }
% if W > 1:
    if (whole < n) {
      const index_t j = n - ${W};
${load("j", W)}\
${store("j", W)}\
    }
% endif
</%def>\
<%def name="by_team()">\
${begin()}\
    ${T} total_g = 0, total_moment = 0;
    for (index_t j = member; j < end; j += ${k.team}) {
${load("j", 1)}\
      total_g += g_;
      total_moment += g_ * c_;
    }
% if k.team > 1:
    shared_g[slot] = total_g;
    shared_moment[slot] = total_moment;
    for (int half_team = ${k.team // 2}; half_team > 0; half_team /= 2) {
      barrier(CLK_LOCAL_MEM_FENCE);
      if (member < half_team) {
        shared_g[slot] = total_g = total_g + shared_g[slot + half_team * ${k.columns}];
        shared_moment[slot] = total_moment = total_moment + shared_moment[slot + half_team * ${k.columns}];
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    total_g = shared_g[own_row];
    total_moment = shared_moment[own_row];
% endif
${derive()}\
    for (index_t j = member; j < end; j += ${k.team}) {
${load("j", 1)}\
${store("j", 1)}\
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
  __local ${T} shared_g[${k.team * k.columns}], shared_moment[${k.team * k.columns}];
  const int slot = member * ${k.columns} + own_row;
% endif
  const index_t row = (index_t)get_group_id(0) * ${k.columns} + own_row, real_row = min(row, outer - 1);
  // A row that does not exist is empty: its work-items only keep the barriers complete.
  const index_t end = row < outer ? n : 0;
${by_team()}\
% else:
  const index_t whole = n - n % ${W};
% if W > 1:
  const ${I}${W} seen = ${lane} < (${I}${W})(${W} - (int)(n - whole));
% endif
  const index_t own = (index_t)get_global_id(0) * n;
  for (index_t j = 0; j < n; ++j) d_gamma[own + j] = d_beta[own + j] = 0;
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
