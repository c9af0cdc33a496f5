## Adjugates of upper triangular matrices: det(U) U^-1, without a division, so that U may be singular.
##
## Layout: lu, y [batch][n][n], C order; below its diagonal, lu is not read and y is 0. parity [batch] is a
##   factor of each adjugate.
## Method: with D(i, k) the product of U's diagonal from i to k, column j of U^-1 is x_ij / D(i, j), where
##   x_jj = 1 and x_ij = - sum_{k = i + 1}^{j} u_ik x_kj D(i + 1, k - 1): back substitution, with the
##   denominators cleared. The adjugate is x_ij D(0, i - 1) D(j + 1, n - 1).
## Both shapes: a work-item takes one column at a time; neighbours read neighbouring addresses.
## Assumes: y does not overlap lu. No tunables.
<%namespace name="common" file="common.mako"/>\
${common.prologue(signature, [])}
__kernel void ${name}(
    ${signature})
{
  lu += lu_offset;
  parity += parity_offset;
  y += y_offset;
  for (index_t number = get_global_id(0); number < batch * n; number += get_global_size(0)) {
    const index_t matrix = number / n, j = number - matrix * n;
    __global const ${T} *u = lu + matrix * n * n;
    __global ${T} *x = y + matrix * n * n + j;
    ${T} outer = parity[matrix];
    for (index_t i = j + 1; i < n; ++i) {
      outer *= u[i * n + i];
      x[i * n] = 0;
    }
    x[j * n] = 1;
    for (index_t i = j - 1; i >= 0; --i) {
      ${T} sum = 0, product = 1;
      for (index_t k = i + 1; k <= j; ++k) {
        sum += u[i * n + k] * x[k * n] * product;
        product *= u[k * n + k];
      }
      x[i * n] = -sum;
    }
    for (index_t i = 0; i <= j; ++i) {
      x[i * n] *= outer;
      outer *= u[i * n + i];
    }
  }
}
