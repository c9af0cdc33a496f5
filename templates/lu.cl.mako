## LU factors of square matrices with partial pivoting, P A = L U, and their determinants.
##
## Layout: x, lu [batch][n][n], C order; lu holds U and, below its diagonal, L, whose diagonal is 1. Row i of
##   P A is row order[i] of A; order is [batch][n]. Of each matrix: sign [batch] is det(P) times the signs of
##   U's diagonal, 0 if one of them is 0; log_abs [batch] is the logarithm of |det A|, det [batch] itself, parity
##   [batch] det(P).
## Method: right-looking; the pivot is the first of the largest elements of the column (Golub & Van Loan,
##   Matrix Computations, 3.4). Where a whole column is 0 the step is skipped, as in LAPACK.
## Both shapes: a team for each matrix (team.mako).
## Assumes: outputs do not overlap x. Tunables: those of the team.
<%namespace name="common" file="common.mako"/>\
<%namespace name="team" file="team.mako"/>\
${common.prologue(signature, [])}
${team.attributes(t)}\
__kernel void ${name}(
    ${signature})
{
% for array in arrays:
  ${array} += ${array}_offset;
% endfor
% if t.size > 1:
  __local ${t.T} shared[${t.size}];
  __local int places[${t.size}];
% endif
${team.begin(t)}\
    __global const ${t.T} *a = x + matrix * n * n;
    __global ${t.T} *u = lu + matrix * n * n;
    __global int *from = order + matrix * n;
    for (index_t i = member; i < n * n; i += ${t.size}) u[i] = a[i];
    for (index_t i = member; i < n; i += ${t.size}) from[i] = (int)i;
    ${t.T} swaps = 1;
${team.sync(t)}\
    for (index_t k = 0; k < n; ++k) {
      ${t.T} best = -1;
      int place = (int)k;
      for (index_t i = k + member; i < n; i += ${t.size}) {
        const ${t.T} size = fabs(u[i * n + k]);
        if (size > best) {
          best = size;
          place = (int)i;
        }
      }
% if t.size > 1:
      shared[member] = best;
      places[member] = place;
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int other = 0; other < ${t.size}; ++other)
        if (shared[other] > best || (shared[other] == best && places[other] < place)) {
          best = shared[other];
          place = places[other];
        }
% endif
      __global ${t.T} *top = u + k * n;
      if (place != k) {
        swaps = -swaps;
        __global ${t.T} *found = u + place * n;
        for (index_t j = member; j < n; j += ${t.size}) {
          const ${t.T} kept = top[j];
          top[j] = found[j];
          found[j] = kept;
        }
        if (member == 0) {
          const int kept = from[k];
          from[k] = from[place];
          from[place] = kept;
        }
      }
${team.sync(t)}\
      const ${t.T} pivot = top[k];
      if (pivot != 0)
        for (index_t i = k + 1 + member; i < n; i += ${t.size}) u[i * n + k] /= pivot;
${team.sync(t)}\
      for (index_t i = k + 1 + ty; i < n; i += ${t.ty}) {
        __global ${t.T} *row = u + i * n;
        const ${t.T} factor = row[k];
${team.subtract_row(t, "row", "top", "factor", "k + 1", "n")}\
      }
${team.sync(t)}\
    }
% if "sign" in arrays or "det" in arrays:
    if (member == 0) {
      ${t.T} product = swaps, signs = swaps, logarithms = 0;
      for (index_t k = 0; k < n; ++k) {
        const ${t.T} pivot = u[k * n + k];
        product *= pivot;
        signs = pivot < 0 ? -signs : pivot == 0 ? 0 : pivot > 0 ? signs : pivot;
        logarithms += log(fabs(pivot));
      }
% if "det" in arrays:
      det[matrix] = product;
      parity[matrix] = swaps;
% else:
      sign[matrix] = signs;
      log_abs[matrix] = logarithms;
% endif
    }
% endif
  }
}
