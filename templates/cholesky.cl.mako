## Cholesky factors of symmetric positive definite matrices: A = L L^T, or A = U^T U with `not lower`.
##
## Layout: x, y [batch][n][n], C order. Of x only the triangle of the result is read; the other one of y is 0.
## Method: right-looking. U grows in y row by row, since rows are contiguous: row k is divided by the root of
##   the pivot, and its outer product with itself is taken off the rows below. L is its transpose. (Golub &
##   Van Loan, Matrix Computations, 4.2.) A pivot that is not above 0 makes NaN of all that depends on it.
## Both shapes: a team for each matrix (team.mako).
## Assumes: y does not overlap x. Tunables: those of the team.
<%namespace name="common" file="common.mako"/>\
<%namespace name="team" file="team.mako"/>\
${common.prologue(signature, [])}
${team.attributes(t)}\
__kernel void ${name}(
    ${signature})
{
  x += x_offset;
  y += y_offset;
${team.begin(t)}\
    __global const ${t.T} *a = x + matrix * n * n;
    __global ${t.T} *u = y + matrix * n * n;
    for (index_t i = ty; i < n; i += ${t.ty})
      for (index_t j = tx; j < n; j += ${t.tx})
        u[i * n + j] = j < i ? 0 : a[${"j * n + i" if lower else "i * n + j"}];
${team.sync(t)}\
    for (index_t k = 0; k < n; ++k) {
      __global ${t.T} *top = u + k * n;
      const ${t.T} pivot = top[k];
      const ${t.T} root = pivot > 0 ? sqrt(pivot) : (${t.T})NAN;
${team.sync(t)}\
      for (index_t j = k + member; j < n; j += ${t.size}) top[j] = j == k ? root : top[j] / root;
${team.sync(t)}\
      for (index_t i = k + 1 + ty; i < n; i += ${t.ty}) {
        __global ${t.T} *row = u + i * n;
        const ${t.T} factor = top[i];
${team.subtract_row(t, "row", "top", "factor", "i", "n")}\
      }
${team.sync(t)}\
    }
% if lower:
    for (index_t i = ty; i < n; i += ${t.ty})
      for (index_t j = i + 1 + tx; j < n; j += ${t.tx}) {
        u[j * n + i] = u[i * n + j];
        u[i * n + j] = 0;
      }
% endif
  }
}
