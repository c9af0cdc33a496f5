## Sums over shares of many arrays: y[a][p] = sum of f(x_a[e]) over the p-th share of array a.
##
## Layout: y is (arrays, PARTS). Work-item (p, a) adds up vectors p, p + PARTS, ... of array a (GPU shape:
##   neighbours read neighbouring addresses), or one range of them (CPU shape).
## Sums are added in blocks of 256, as in reduce.cl.mako.
## Tunables: PARTS, WIDTH (clgrad/kernels/groups.py).
<%namespace name="common" file="common.mako"/>\
<%
W, T = width, expr.dtypes.c_type(wide)
V = expr.dtypes.c_type(wide, W)
%>\
${common.prologue(signature, [])}
inline ${T} share_of(__global const ${expr.dtypes.describe(dtype).storage} *x, const index_t size)
{
  const index_t part = get_global_id(0), vectors = size / ${W};
% if device.kind == "cpu":
  const index_t share = (vectors + ${parts - 1}) / ${parts}, stride = 1;
  index_t v = part * share;
  const index_t last = min(vectors, v + share);
% else:
  const index_t stride = ${parts}, last = vectors;
  index_t v = part;
% endif
  ${V} total = (${V})(0);
  while (v < last) {
    ${V} block = (${V})(0);
    for (int n = 0; n < 256 && v < last; ++n, v += stride) {
      const index_t i = v * ${W};
% for line in terms[W][0]:
      ${line}
% endfor
      block += ${terms[W][1]};
    }
    total += block;
  }
% if W == 1:
  return total;
% else:
  ${T} sum = ${" + ".join(f"total.s{i:x}" for i in range(W))};
  if (part == 0)
    for (index_t i = vectors * ${W}; i < size; ++i) {
% for line in terms[1][0]:
      ${line}
% endfor
      sum += ${terms[1][1]};
    }
  return sum;
% endif
}

__kernel void ${name}(
    ${signature})
{
  const int array = get_global_id(1);
  ${T} sum = 0;
  switch (array) {
% for g, there in enumerate(filled):
% if there:
    case ${g}: sum = share_of(x${g} + x${g}_offset, size${g}); break;
% endif
% endfor
    default: break;
  }
  y[y_offset + (ulong)(${first} + array) * ${parts} + get_global_id(0)] = sum;
}
