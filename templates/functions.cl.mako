<%page args="helpers"/>\
## Scalar helper functions, one instance for each (function, dtype) that a kernel calls.
##
## helpers: sequence of (function, compute dtype); see clgrad/kernels/expr.py.
% for function, dtype in helpers:
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
// Computing Gems, 2012), then Newton steps on erf to the precision of the type.
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
  ${T} y = p * x;
% if dtype.itemsize == 8:
  for (int step = 0; step < 2; ++step)
    y -= (erf(y) - x) / (${lit(1.1283791670955126)} * exp(-y * y));
% endif
  return y;
}
% elif function == "polygamma":
// psi^(n)(x), n a non-negative integer: recurrence up to x >= 10, then the asymptotic series
// (Abramowitz & Stegun 6.4.6, 6.4.11); negative x by reflection for n <= 1, else by recurrence.
inline ${T} polygamma_${T}(${T} n_, ${T} x) {
  const int n = (int)n_;
  if (x <= 0 && x == floor(x)) return n == 0 ? NAN : (n & 1) ? INFINITY : NAN;
  ${T} factorial = 1;  // n!
  for (int k = 2; k <= n; ++k) factorial *= k;
  const ${T} sign = (n & 1) ? 1 : -1;  // (-1)^(n+1)
  ${T} shift = 0;
  if (n == 0 && x < 0) {  // digamma(1 - x) - pi / tan(pi x)
    shift = -${lit(np.pi)} / tan(${lit(np.pi)} * (x - floor(x)));
    x = 1 - x;
  }
  if (x < -1000) return NAN;
  while (x < 10) {
    shift += n == 0 ? -1 / x : sign * factorial * pow(x, -(${T})(n + 1));
    x += 1;
  }
  const ${T} inv2 = 1 / (x * x);
  if (n == 0) {
    ${T} tail = 0;
% for c in (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12):
    tail = ${lit(c)} + inv2 * tail;
% endfor
    return shift + log(x) - ${lit(0.5)} / x - inv2 * tail;
  }
  // (-1)^(n+1) [ (n-1)!/x^n + n!/(2 x^(n+1)) + sum_k B_2k (2k+n-1)! / ((2k)! x^(2k+n)) ]
  ${T} term = factorial / n;  // (2k+n-1)!/(2k)! for k = 0
  ${T} series = term + factorial / (2 * x);
  ${T} power = 1;
  const ${T} bernoulli[8] = {${", ".join(lit(b) for b in (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510))}};
  for (int k = 1; k <= 8; ++k) {
    term *= (${T})((2 * k + n - 2) * (2 * k + n - 1)) / (${T})((2 * k - 1) * (2 * k));
    power *= inv2;
    series += bernoulli[k - 1] * term * power;
  }
  return shift + sign * series * pow(x, -(${T})n);
}
% endif
% endfor
