<%page args="helpers"/>\
## Scalar helper functions, one instance for each (function, dtype) that a kernel calls.
##
## helpers: sequence of (function, compute dtype, 1); see clgrad/kernels/expr.py.
<%
# polygamma calls digamma, once for each dtype
wanted = dict.fromkeys(h for function, dtype, _ in helpers for h in ([("digamma", dtype)] if function == "polygamma" else []) + [(function, dtype)])
%>\
% for function, dtype in wanted:
<% T = expr.dtypes.c_type(dtype); lit = lambda value: expr.c_literal(value, dtype) %>\
% if function == "int_divide":
// Quotient as in C; 0 where the divisor is 0, and no trap on MIN / -1.
inline ${T} int_divide_${T}(${T} a, ${T} b) {
  if (b == 0) return 0;
% if dtype.kind == "i":
  if (b == -1) return (${T})(0 - a);
% endif
  return a / b;
}
% elif function == "int_floor_divide":
// Quotient rounded down, as in Python; 0 where the divisor is 0.
inline ${T} int_floor_divide_${T}(${T} a, ${T} b) {
  if (b == 0) return 0;
% if dtype.kind == "i":
  if (b == -1) return (${T})(0 - a);
  const ${T} q = a / b;
  return (q * b != a && (a < 0) != (b < 0)) ? q - 1 : q;
% else:
  return a / b;
% endif
}
% elif function == "int_modulo":
// Remainder with the divisor's sign, as in Python; 0 where the divisor is 0.
inline ${T} int_modulo_${T}(${T} a, ${T} b) {
  if (b == 0) return 0;
% if dtype.kind == "i":
  if (b == -1) return 0;
  const ${T} r = a % b;
  return (r != 0 && (r < 0) != (b < 0)) ? r + b : r;
% else:
  return a % b;
% endif
}
% elif function == "int_power":
// Exponentiation by squaring; a negative exponent gives the truncated real result.
inline ${T} int_power_${T}(${T} base, ${T} exponent) {
% if dtype.kind == "i":
  if (exponent < 0) {
    if (base == 1) return 1;
    if (base == -1) return (exponent & 1) ? -1 : 1;
    return 0;
  }
% endif
  ${T} result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}
% elif function == "float_modulo":
// Remainder with the divisor's sign, also of 0, as in Python; 0 where the divisor is 0 (MXNet).
inline ${T} float_modulo_${T}(${T} a, ${T} b) {
  if (b == 0) return 0;
  const ${T} r = fmod(a, b);
  if (r == 0) return copysign((${T})0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}
% elif function == "erfinv":
// Inverse error function: the polynomials of M. Giles, "Approximating the erfinv function" (GPU
// Computing Gems, 2012), off by 4 ulp in float; in double, Halley steps follow on erf or, from 1/2 on, on
// erfc, whose argument 1 - |x| is exact there. Beyond the polynomials' range they start from the
// asymptotic series of erfc.
inline ${T} erfinv_${T}(${T} x) {
  if (!(fabs(x) < 1)) return fabs(x) == 1 ? x * INFINITY : NAN;
  const ${T} w0 = -log((1 - x) * (1 + x));
  ${T} p, w;
  if (w0 < 5) {
    w = w0 - ${lit(2.5)};
    p = ${lit(2.81022636e-08)};
% for c in (3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941):
    p = ${lit(c)} + p * w;
% endfor
  } else {
    w = sqrt(w0) - 3;
    p = ${lit(-0.000200214257)};
% for c in (0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682):
    p = ${lit(c)} + p * w;
% endfor
  }
% if dtype.itemsize == 8:
  const ${T} a = fabs(x);
  ${T} y = p * a;
  if (w0 > 15) {
    const ${T} goal = -log(1 - a);  // = y^2 + log(y sqrt(pi)) - log(1 - 1 / (2 y^2))
    y = sqrt(goal);
    for (int step = 0; step < 3; ++step)
      y = sqrt(goal - log(y * ${lit(1.7724538509055159)}) + log1p(-1 / (2 * y * y)));
  }
  for (int step = 0; step < 3; ++step) {
    const ${T} error = a < ${lit(0.5)} ? erf(y) - a : (1 - a) - erfc(y);
    const ${T} newton = error / (${lit(1.1283791670955126)} * exp(-y * y));
    y -= newton / (1 + y * newton);
  }
  return copysign(y, x);
% else:
  return p * x;
% endif
}
% elif function == "gamma":
// Gamma function: the built-in, which OpenCL C leaves open, with its edges put right. Below the range it
// vanishes with its sign (rusticl: infinity); near its last poles, where PoCL is off by 40 ulp, by the
// recurrence from 8 further up. Whole numbers below 0 are poles of either sign: NaN.
<% last, near = (-184, -150) if dtype.itemsize == 8 else (-42, -26) %>\
inline ${T} gamma_${T}(${T} x) {
  if (x < 0 && x == floor(x)) return NAN;
  if (x < ${last}) return fmod(floor(x), (${T})2) == 0 ? (${T})0 : -(${T})0;
  if (x > ${near}) return tgamma(x);
  ${T} product = x;
  for (int k = 1; k < 8; ++k) product *= x + k;
  return tgamma(x + 8) / product;
}
% elif function == "gammaln":
// Logarithm of |gamma|: the built-in, but for tiny numbers -log|x| (rusticl: infinity) and for huge ones
// Stirling's leading terms (PoCL overflows early).
<% huge = 1e20 if dtype.itemsize == 8 else 1e10 %>\
inline ${T} gammaln_${T}(${T} x) {
  if (fabs(x) < ${lit(1 / huge)}) return -log(fabs(x));
  return x > ${lit(huge)} ? x * (log(x) - 1) : lgamma(x);
}
% elif function == "digamma":
// psi(x): below 0 by reflection, psi(1 - x) - pi cot(pi x), with the exact distance to the nearest whole
// number; near the root, where the terms below would cancel, by the Taylor series about it; else the
// recurrence up to LIMIT and the asymptotic series (Abramowitz & Stegun 6.3.5, 6.3.7, 6.3.18).
<%
double = dtype.itemsize == 8
root, rest = (1.4616321449683622, 9.549995429965697e-17) if double else (1.46163213253021240234375, 1.2438149938918909e-08)
taylor = (0.9676722454476212, -0.4427631689835921, 0.258499760955651, -0.16394270544240652, 0.10782405069126237,
  -0.07219956125645471, 0.04880428816414311, -0.03316112647484736, 0.022597648232218104, -0.01542476590494896,
  0.010538791616612175, -0.007204534386356869, 0.004926781395729853, -0.003369801655439328, 0.002305126326734928,
  -0.0015769367714301972, 0.0010788252019162967, -0.0007380709389960052, 0.000504953265834602,
  -0.0003454680251063077, 0.00023635601564027053, -0.00016170622091974803, 0.0001106337276874741)
taylor = taylor if double else taylor[:12]
limit = 10 if double else 6
%>\
inline ${T} digamma_${T}(${T} x) {
  if (x <= 0 && x == floor(x)) return NAN;
  ${T} shift = 0;
  if (x < 0) {
    const ${T} r = x - rint(x), size = fabs(r);
    const ${T} cotangent = size < ${lit(0.25)} ? 1 / tan(${lit(np.pi)} * size) : tan(${lit(np.pi)} * (${lit(0.5)} - size));
    shift = -${lit(np.pi)} * copysign(cotangent, r);
    x = 1 - x;
  }
  const ${T} d = (x - ${lit(root)}) - ${lit(rest)};
  if (fabs(d) < ${lit(0.3)}) {
    ${T} slope = ${lit(taylor[-1])};
% for c in taylor[-2::-1]:
    slope = ${lit(c)} + slope * d;
% endfor
    return shift + slope * d;
  }
  while (x < ${limit}) {
    shift -= 1 / x;
    x += 1;
  }
  const ${T} inv2 = 1 / (x * x);
  ${T} tail = 0;
% for c in (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12):
  tail = ${lit(c)} + inv2 * tail;
% endfor
  return shift + (log(x) - ${lit(0.5)} / x - inv2 * tail);
}
% elif function == "polygamma":
// Hurwitz zeta(s, q), the sum over k of (q + k)^-s, for whole s >= 2 and q > 0: term by term up to LIMIT,
// then the Euler-Maclaurin formula (Abramowitz & Stegun 23.1.30).
<% limit = 10 if dtype.itemsize == 8 else 6 %>\
inline ${T} hurwitz_${T}(int s, ${T} q) {
  ${T} total = 0;
  for (; q < ${limit} + s; q += 1) {
    const ${T} inverse = 1 / q;
    ${T} term = inverse;
    for (int k = 1; k < s; ++k) term *= inverse;
    total += term;
  }
  const ${T} inverse = 1 / q;
  ${T} power = 1;  // q^(1-s)
  for (int k = 1; k < s; ++k) power *= inverse;
  ${T} series = power / (s - 1) + power * inverse / 2;
  ${T} rising = s;  // s (s+1) ... (s+2k-2)
  int k = s;
% for b in (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600):
  power *= inverse * inverse;
  series += ${lit(b)} * rising * power;
  rising *= (${T})(k + 1) * (${T})(k + 2);
  k += 2;
% endfor
  return total + series;
}
// psi^(n)(x) = (-1)^(n+1) n! zeta(n + 1, x). Below 0 the poles on either side are summed from x outwards:
// zeta(s, f) + (-1)^s (zeta(s, g) - zeta(s, 1 - x)), with f and g the distances to the whole numbers beside x.
inline ${T} polygamma_${T}(${T} n_, ${T} x) {
  const int n = (int)n_, s = n + 1;
  if (n == 0) return digamma_${T}(x);
  const ${T} sign = (n & 1) ? 1 : -1;  // (-1)^(n+1)
  if (x <= 0 && x == floor(x)) return (n & 1) ? INFINITY : NAN;
  ${T} factorial = 1;  // n!
  for (int k = 2; k <= n; ++k) factorial *= k;
  ${T} total = 0;
  for (int part = 0; part < (x < 0 ? 3 : 1); ++part) {
    const ${T} q = part == 1 ? ceil(x) - x : part == 2 ? 1 - x : x < 0 ? x - floor(x) : x;
    const ${T} zeta = hurwitz_${T}(s, q);
    total += part == 0 ? zeta : part == 1 ? sign * zeta : -sign * zeta;
  }
  return sign * factorial * total;
}
% endif
% endfor
