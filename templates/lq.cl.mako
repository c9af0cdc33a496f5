## LQ factors of matrices with no more rows than columns: A = L Q, L lower triangular, Q Q^T = 1.
##
## Layout: x, q [batch][m][n], l [batch][m][m], tau [batch][m], C order.
## Method: Householder reflectors from the right (Golub & Van Loan, Matrix Computations, 5.2), in q: row k is
##   reflected onto its first k + 1 elements, which are L's. Then Q is the first m rows of the product of the
##   reflectors, made from the last to the first in place of their vectors. Signs are LAPACK's.
## Phases, a launch each: `reduce` makes L, the vectors of the reflectors in q, and their factors in tau; `form`
##   makes Q.
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
% endif
${team.begin(t)}\
    __global ${t.T} *w = q + matrix * m * n, *taus = tau + matrix * m;
% if phase == "reduce":
    __global const ${t.T} *a = x + matrix * m * n;
    __global ${t.T} *lower = l + matrix * m * m;
    for (index_t i = member; i < m * n; i += ${t.size}) w[i] = a[i];
${team.sync(t)}\
    for (index_t k = 0; k < m; ++k) {
      __global ${t.T} *v = w + k * n;
${team.reflector(t, "v", "k", "n", "lower[k * m + k]", "taus[k]")}\
${team.reflect_rows(t, "w", "n", "v", "k", "k + 1", "m")}\
    }
    for (index_t i = ty; i < m; i += ${t.ty})
      for (index_t j = tx; j < m; j += ${t.tx}) {
        if (j < i) {
          lower[i * m + j] = w[i * n + j];
          w[i * n + j] = 0;
        } else if (j > i) lower[i * m + j] = 0;
      }
% else:
    for (index_t k = m - 1; k >= 0; --k) {
      __global ${t.T} *v = w + k * n;
      const ${t.T} tau_ = taus[k];
${team.reflect_rows(t, "w", "n", "v", "k", "k + 1", "m")}\
      for (index_t j = k + member; j < n; j += ${t.size}) v[j] = j == k ? 1 - tau_ : -tau_ * v[j];
${team.sync(t)}\
    }
% endif
  }
}
