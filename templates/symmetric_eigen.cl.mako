## Eigenvalues and eigenvectors of symmetric matrices: A = U^T diag(values) U, values ascending.
##
## Layout: x, u, z [batch][n][n], values [batch][n], space [batch][5 n], C order. The eigenvectors are the
##   rows of u. Of x only the lower triangle is read. z and space are temporary.
## Method: Householder reflectors to tridiagonal form (Golub & Van Loan, Matrix Computations, 8.3), in u;
##   their product in z; then implicit QL with Wilkinson's shift (Bowdler, Martin, Reinsch & Wilkinson, The QR
##   and QL algorithms for symmetric matrices, Numer. Math. 11, 1968), whose rotations are worked out for a
##   whole sweep by one member and then applied by all, each to columns of its own. At last rows are sorted,
##   and turned so that the first of their largest elements (but for rounding) is positive, as in MXNet.
##   An eigenvalue that SWEEPS sweeps do not find, which does not happen to finite matrices, is NaN.
## Phases, a launch each: `reduce` to tridiagonal form, d and e in space, the factors of the reflectors in its
##   last part; `form` their product in z; `iterate` QL; `sort`.
## Both shapes: a team for each matrix (team.mako).
## Assumes: outputs do not overlap x. Tunables: those of the team.
<%namespace name="common" file="common.mako"/>\
<%namespace name="team" file="team.mako"/>\
<%
T, W = t.T, t.width
SWEEPS = 60
epsilon, smallest = ("DBL_EPSILON", "DBL_MIN") if T == "double" else ("FLT_EPSILON", "FLT_MIN")
vector = lambda lanes: f"{T}{lanes}" if lanes > 1 else T
load = lambda at, lanes: f"vload{lanes}(0, {at})" if lanes > 1 else f"*({at})"
store = lambda value, at, lanes: f"vstore{lanes}({value}, 0, {at})" if lanes > 1 else f"*({at}) = {value}"
%>\
## Rotates rows last, last - 1, ..., first of z, from column `j` on.
<%def name="rotate(lanes)">\
        ${vector(lanes)} carried = ${load("z_ + last * n + j", lanes)};
        for (index_t i = last - 1; i >= first; --i) {
          const ${vector(lanes)} row = ${load("z_ + i * n + j", lanes)};
          ${store("sines[i] * row + cosines[i] * carried", "z_ + (i + 1) * n + j", lanes)};
          carried = cosines[i] * row - sines[i] * carried;
        }
        ${store("carried", "z_ + first * n + j", lanes)};
</%def>\
${common.prologue(signature, [])}
${team.attributes(t)}\
__kernel void ${name}(
    ${signature})
{
% for array in arrays:
  ${array} += ${array}_offset;
% endfor
% if t.size > 1:
  __local ${T} shared[${t.size}];
% endif
% if phase == "iterate":
  __local int block[2];
% endif
${team.begin(t)}\
% if "u" in arrays:
    __global ${T} *w = u + matrix * n * n;
% endif
% if "z" in arrays:
    __global ${T} *z_ = z + matrix * n * n;
% endif
    __global ${T} *d = space + matrix * 5 * n, *e = d + n, *p = d + 2 * n;
    __global ${T} *cosines = d + 3 * n, *sines = d + 4 * n;
% if phase == "reduce":
    __global const ${T} *a = x + matrix * n * n;
    for (index_t i = ty; i < n; i += ${t.ty})
      for (index_t j = tx; j < n; j += ${t.tx}) w[i * n + j] = j > i ? a[j * n + i] : a[i * n + j];
${team.sync(t)}\
    for (index_t k = 0; k + 2 < n; ++k) {
      __global ${T} *v = w + k * n;
${team.reflector(t, "v", "k + 1", "n", "e[k]", "sines[k]")}\
      for (index_t base = k + 1; base < n; base += ${t.ty}) {
        const index_t i = base + ty, end = i < n ? n : 0;
        __global ${T} *row = w + min(i, n - 1) * n;
${team.partial_dot(t, "along", "row", "v", "k + 1", "end")}\
${team.sum_row(t, "along")}\
        if (tx == 0 && i < n) p[i] = tau_ * along;
      }
${team.sync(t)}\
      ${T} pv = 0;
      for (index_t j = k + 1 + member; j < n; j += ${t.size}) pv += p[j] * v[j];
${team.join_all(t, "pv", lambda a, b: f"{a} + {b}")}\
      pv *= tau_ / 2;
      for (index_t j = k + 1 + member; j < n; j += ${t.size}) p[j] -= pv * v[j];
${team.sync(t)}\
      for (index_t i = k + 1 + ty; i < n; i += ${t.ty}) {
        __global ${T} *row = w + i * n;
        const ${T} vi = v[i], pi_ = p[i];
${team.subtract_row(t, "row", "p", "vi", "k + 1", "n")}\
${team.subtract_row(t, "row", "v", "pi_", "k + 1", "n")}\
      }
${team.sync(t)}\
    }
    for (index_t i = member; i < n; i += ${t.size}) d[i] = w[i * n + i];
    if (member == 0) {
      if (n > 1) e[n - 2] = w[(n - 2) * n + n - 1];
      e[n - 1] = 0;
    }
% elif phase == "form":
    for (index_t i = ty; i < n; i += ${t.ty})
      for (index_t j = tx; j < n; j += ${t.tx}) z_[i * n + j] = i == j;
${team.sync(t)}\
    for (index_t k = n - 3; k >= 0; --k) {
      __global ${T} *v = w + k * n;
      const ${T} tau_ = sines[k];
${team.reflect_rows(t, "z_", "n", "v", "k + 1", "k + 1", "n")}\
    }
% elif phase == "iterate":
    // QL: the smallest eigenvalue that is left of the block from `at` on is driven out at its top.
    index_t at = 0;
    int sweeps = 0;
    while (at < n) {
      if (member == 0) {
        index_t m = at;
        while (m < n - 1 && fabs(e[m]) > fmax(${epsilon} * (fabs(d[m]) + fabs(d[m + 1])), (${T})${smallest})) ++m;
        index_t i = m;
        if (m > at) {
          const ${T} half_gap = (d[at + 1] - d[at]) / (2 * e[at]);
          const ${T} root = hypot(half_gap, (${T})1);
          ${T} g = d[m] - d[at] + e[at] / (half_gap + copysign(root, half_gap));
          ${T} sine = 1, cosine = 1, moved = 0;
          bool whole = true;
          while (whole && i > at) {
            const ${T} f = sine * e[i - 1], b = cosine * e[i - 1];
            const ${T} r = hypot(f, g);
            e[i] = r;
            if (r == 0) {
              d[i] -= moved;  // the block falls apart here; the rest waits for the next sweep
              whole = false;
            } else {
              sine = f / r;
              cosine = g / r;
              g = d[i] - moved;
              const ${T} turned = (d[i - 1] - g) * sine + 2 * cosine * b;
              moved = sine * turned;
              d[i] = g + moved;
              g = cosine * turned - b;
              --i;
              cosines[i] = cosine;
              sines[i] = sine;
            }
          }
          if (whole) {
            d[at] -= moved;
            e[at] = g;
          }
          e[m] = 0;
          if (sweeps == ${SWEEPS - 1}) d[at] = NAN;
        }
        block[0] = (int)i;
        block[1] = (int)m;
      }
${team.sync(t)}\
      const index_t first = block[0], last = block[1];
% if W > 1:
      index_t j = 0;
      if (first < last) {
      for (; j + ${W} <= n; j += ${W}) {
${rotate(W)}\
      }
      for (; j < n; ++j) {
${rotate(1)}\
      }
      }
% else:
      for (index_t j = member; j < n && first < last; j += ${t.size}) {
${rotate(1)}\
      }
% endif
${team.sync(t)}\
      ++sweeps;
      if (last == at || sweeps == ${SWEEPS}) {
        ++at;
        sweeps = 0;
      }
    }
% else:
    // Places in ascending order, NaN last, and signs; kept in cosines and sines.
    for (index_t i = member; i < n; i += ${t.size}) {
      const ${T} own = d[i];
      index_t place = 0;
      for (index_t k = 0; k < n; ++k) {
        const ${T} other = d[k];
        const bool less = other < own || (isnan(own) && !isnan(other));
        const bool more = own < other || (isnan(other) && !isnan(own));
        place += less || (!more && k < i);
      }
      ${T} largest = 0, sign = 1;
      for (index_t j = 0; j < n; ++j) {
        const ${T} value = z_[i * n + j];
        if (fabs(value) > largest * (1 + 16 * ${epsilon})) {
          largest = fabs(value);
          sign = value < 0 ? -1 : 1;
        }
      }
      cosines[i] = place;
      sines[i] = sign;
      values[matrix * n + place] = own;
    }
${team.sync(t)}\
    for (index_t i = ty; i < n; i += ${t.ty}) {
      __global ${T} *row = w + (index_t)cosines[i] * n;
      const ${T} sign = sines[i];
      for (index_t j = tx; j < n; j += ${t.tx}) row[j] = sign * z_[i * n + j];
    }
% endif
  }
}
