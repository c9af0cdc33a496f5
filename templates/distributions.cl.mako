## Random numbers whose parameters differ from element to element, or that take rejection.
##
## Element e draws its uniform numbers from blocks of its own, philox(counter = (e, block, call), key =
## seed), as many as it needs: what it gets depends on nothing else. Its parameters are those at e / samples.
##
##     uniform      low + (high - low) u, below high
##     normal       loc + scale z; G. Marsaglia's polar method (1964)
##     exponential  -log(u) / lam
##     gamma        of shape alpha and scale beta: G. Marsaglia, W. W. Tsang, "A simple method for generating
##                  gamma variables" (2000); below alpha = 1, of alpha + 1 times u^(1 / alpha)
##     poisson      of mean lam; below 10 by counting, else W. Hoermann, "The transformed rejection method
##                  for generating Poisson random variables" (1993), algorithm PTRS, with the probabilities
##                  in C. Loader's form (2000), which does not cancel
##     negative_binomial (k, p), generalized_negative_binomial (mu, alpha): Poisson of a gamma mean
##     randint      whole numbers from low to high - 1: D. Lemire, "Fast random integer generation in an
##                  interval" (2019)
##
## Arithmetic is portable: +, -, * and conversions, which every device rounds alike, and functions made of
## these below. So no decision falls otherwise on another device, and results agree to the last bit
## (but for denormal numbers, which some devices flush to 0).
## Parameters out of range give NaN.
## CPU shape: a work-item takes one contiguous range of elements. GPU shape: a grid-stride loop.
<%namespace name="common" file="common.mako"/>\
<%namespace name="random" file="philox.mako"/>\
<%
import math
compute = expr.dtypes.compute_type(storage)
whole = compute.kind == "i"
double = compute == expr.dtypes.float64
T = expr.dtypes.c_type(compute)
lit = lambda value: expr.c_literal(value, compute)
U, bits, bias = ("ulong", 52, 1023) if double else ("uint", 23, 127)
counts = distribution in ("poisson", "negative_binomial", "generalized_negative_binomial")

def horner(variable, coefficients):
    """Statements that evaluate a polynomial of the variable, lowest power first, into `p`."""
    *rest, last = coefficients
    return [f"{T} p = {lit(last)};"] + [f"p = {lit(c)} + p * {variable};" for c in reversed(rest)]

# 2 atanh(s) = 2 s + s z (2/3 + 2/5 z + ...), z = s^2 <= 0.0295, and (exp(x) - 1) / x for |x| <= ln 2 / 2
atanh_series = [2 / (2 * j + 1) for j in range(1, 11 if double else 6)]
exp_series = [1 / math.factorial(j) for j in range(1, 15 if double else 9)]
store = expr.store(storage, "value", compute, "random", "element")
if distribution == "uniform":  # rounded down, lest it reach `high`
    if storage == expr.dtypes.float16:
        store = store.replace("(", "_rtn(", 1)
    elif storage == expr.dtypes.bfloat16:
        store = expr.store(storage, "bfloat16_below(value)", compute, "random", "element")
%>\
${common.prologue(signature, [])}
#pragma OPENCL FP_CONTRACT OFF  // a fused multiply-add rounds otherwise, and not every device has one

% if storage == expr.dtypes.bfloat16:
${random.bfloat16_below()}
% endif
${random.words_of_element()}
#define WORDS(block) words_of(element, block, seed, call)
#define KEYS const ulong element, const ulong seed, const ulong call
% if not whole:

// Portable functions: the same bits on every device, to about 2 units in the last place.

// 1 / x for normal x > 0 with a normal result: Newton's method.
inline ${T} reciprocal(const ${T} x) {
  ${T} y = as_${T}(${"0x7FDE623822FC16E6UL" if double else "0x7EF311C7u"} - as_${U}(x));
% for _ in range(5 if double else 4):
  y = y * (2 - x * y);
% endfor
  return y;
}

// 1 / sqrt(x) for normal x > 0, and something finite for 0: Newton's method.
inline ${T} inverse_root(const ${T} x) {
  ${T} y = as_${T}(${"0x5FE6EB50C7B537A9UL" if double else "0x5F375A86u"} - (as_${U}(x) >> 1));
% for _ in range(4 if double else 3):
  y = y * (${lit(1.5)} - ${lit(0.5)} * x * (y * y));
% endfor
  return y;
}

// 2 atanh(s) - 2 s for |s| <= 0.172.
inline ${T} atanh_tail(const ${T} s) {
  const ${T} z = s * s;
% for line in horner("z", atanh_series):
  ${line}
% endfor
  return s * z * p;
}

// log(1 + x) - x for x from 1 / sqrt(2) - 1 to sqrt(2) - 1, without cancellation.
inline ${T} log1p_less(const ${T} x) {
  const ${T} s = x * reciprocal(2 + x);
  return atanh_tail(s) - x * s;
}

// log(x) for normal x > 0.
inline ${T} ln(const ${T} x) {
  int exponent = (int)(as_${U}(x) >> ${bits}) - ${bias};
  ${T} m = as_${T}((as_${U}(x) & (((${U})1 << ${bits}) - 1)) | (${U})${bias} << ${bits});
  if (m > ${lit(math.sqrt(2))}) {
    m = m * ${lit(0.5)};
    exponent = exponent + 1;
  }
  const ${T} fraction = m - 1;
  return (fraction + log1p_less(fraction)) + exponent * ${lit(math.log(2))};
}

inline ${T} power_of_two(const int n) { return as_${T}((${U})(n + ${bias}) << ${bits}); }

// exp(x) - 1 for |x| <= ln 2 / 2.
inline ${T} expm1_near(const ${T} x) {
% for line in horner("x", exp_series):
  ${line}
% endfor
  return x * p;
}

// exp(x) for x <= 0.
inline ${T} exp_of(const ${T} x) {
  if (x < ${lit(-745 if double else -103)}) return 0;
  const ${T} n = rint(x * ${lit(1 / math.log(2))});
<% high = float(np.float64(round(math.log(2) * 2**32) / 2**32)) if double else float(round(math.log(2) * 2**12) / 2**12) %>\
  const ${T} rest = (x - n * ${lit(high)}) - n * ${lit(math.log(2) - high)};
  const int half_way = (int)n / 2;
  return ((1 + expm1_near(rest)) * power_of_two(half_way)) * power_of_two((int)n - half_way);
}

// Uniform numbers strictly between 0 and 1, of 32 bits; in float32 1 itself can come by rounding.
inline ${T} unit(const uint word) { return (${T})word * ${lit(2.0**-32)} + ${lit(2.0**-33)}; }
% if double:
inline ${T} unit53(const uint high, const uint low) {
  return ((double)((ulong)high << 20 | low >> 12) + ${lit(0.5)}) * ${lit(2.0**-52)};
}
% endif

// Exponentially distributed, of mean 1; fine steps at both ends.
inline ${T} standard_exponential(const uint4 w) {
% if double:
  const ${T} u = unit53(w.x, w.y), other = unit53(~w.x, ~w.y);
% else:
  const ${T} u = unit(w.x), other = unit(~w.x);  // 1 - u
% endif
  return other < ${lit(0.29)} ? other - log1p_less(-other) : -ln(u);
}

// A normal number from the words w.x, w.y and w.w, or NaN if they are rejected.
inline ${T} polar_normal(const uint4 w) {
% if double:
  const ${T} a = ((double)((ulong)w.x << 16 | (w.w & 0xFFFFu)) + ${lit(0.5)}) * ${lit(2.0**-47)} - 1;
  const ${T} b = ((double)((ulong)w.y << 16 | w.w >> 16) + ${lit(0.5)}) * ${lit(2.0**-47)} - 1;
% else:
  const ${T} a = ((${T})(w.x >> 9) + ${lit(0.5)}) * ${lit(2.0**-22)} - 1;
  const ${T} b = ((${T})(w.y >> 9) + ${lit(0.5)}) * ${lit(2.0**-22)} - 1;
% endif
  const ${T} s = a * a + b * b;
  if (s >= 1) return NAN;
  const ${T} square = -2 * ln(s) * reciprocal(s);
  return a * (square * inverse_root(square));
}
% endif
% if distribution == "normal":

inline ${T} standard_normal(KEYS) {
  for (uint block = 0; block < 0xFFFFu; ++block) {
    const ${T} z = polar_normal(WORDS(block));
    if (z == z) return z;
  }
  return 0;  // one chance in 4^65535
}
% endif
% if distribution in ("gamma", "negative_binomial", "generalized_negative_binomial"):

// Gamma distributed, of scale 1; takes the blocks from 0 to 0x7FFF.
inline ${T} standard_gamma(KEYS, const ${T} alpha) {
  if (!(alpha >= 0 && alpha <= ${lit(1e300 if double else 1e36)})) return NAN;
  if (alpha < ${lit(1e-300 if double else 1e-36)}) return 0;
  const ${T} d = (alpha < 1 ? alpha + 1 : alpha) - ${lit(1 / 3)};
  const ${T} c = inverse_root(d) * ${lit(1 / 3)};
  ${T} scale = d;
  if (alpha < 1)
    scale = d * exp_of(-standard_exponential(WORDS(0)) * reciprocal(alpha));
  for (uint block = 1; block < 0x8000u; ++block) {
    const uint4 w = WORDS(block);
    const ${T} x = polar_normal(w), y = c * x, t = 1 + y;
    if (!(t > 0)) continue;
    const ${T} u = unit(w.z), x2 = x * x;
    if (u >= 1 - ${lit(0.0331)} * x2 * x2) {
      // log(t^3) + 1 - t^3, in which the terms that are linear in y cancel
      const ${T} less = fabs(y) < ${lit(0.29)} ? log1p_less(y) : ln(t) - y;
      if (ln(u) >= ${lit(0.5)} * x2 + d * (3 * less - y * y * (3 + y))) continue;
    }
    return scale * (t * t * t);
  }
  return scale;
}
% endif
% if counts:

// log(k!) for k < 10
__constant ${T} log_factorial[10] = {${", ".join(lit(math.lgamma(k + 1)) for k in range(10))}};

// The logarithm of the Poisson probability of k, where the mean is at least 10.
inline ${T} log_probability(const ${T} k, const ${T} lam) {
  if (k < 10) return k * ln(lam) - lam - log_factorial[(int)k];
  const ${T} inverse = reciprocal(k), z = inverse * inverse;
  const ${T} stirling =
      inverse * (${lit(1 / 12)} - z * (${lit(1 / 360)} - z * (${lit(1 / 1260)} - z * (${lit(1 / 1680)} - z * ${lit(1 / 1188)}))));
  const ${T} s = (k - lam) * reciprocal(k + lam);
  const ${T} deviance = fabs(s) <= ${lit(0.17)} ? (k - lam) * s + k * atanh_tail(s)
                                         : k * (ln(k) - ln(lam)) + lam - k;
  return -deviance - stirling - ${lit(0.5)} * (ln(k) + ${lit(math.log(2 * math.pi))});
}

// Poisson distributed; takes the blocks from 0x8000 on.
inline ${T} poisson(KEYS, const ${T} lam) {
  if (!(lam >= 0 && lam <= ${lit(1e300 if double else 1e36)})) return NAN;
  if (lam < 10) {  // how many intervals of a process of rate 1 fit into lam
    const ${T} miss = lam < ${lit(0.34)} ? -expm1_near(-lam) : 1 - exp_of(-lam);
    const ${T} least = exp_of(-lam);
    uint4 w = WORDS(0x8000u);
    if (unit(w.x) >= miss) return 0;
    ${T} product = 1 - unit(w.x), k = 1;
    for (uint i = 1; i < 0x4000u; ++i) {
      if (i % 4 == 0) w = WORDS(0x8000u + i / 4);
      product = product * unit(i % 4 == 0 ? w.x : i % 4 == 1 ? w.y : i % 4 == 2 ? w.z : w.w);
      if (product <= least) break;
      k = k + 1;
    }
    return k;
  }
  const ${T} b = ${lit(0.931)} + ${lit(2.53)} * (lam * inverse_root(lam));
  const ${T} a = ${lit(-0.059)} + ${lit(0.02483)} * b;
  const ${T} inverse_alpha = ${lit(1.1239)} + ${lit(1.1328)} * reciprocal(b - ${lit(3.4)});
  const ${T} v_r = ${lit(0.9277)} - ${lit(3.6224)} * reciprocal(b - 2);
  for (uint block = 0x8000u; block < 0xFFFFu; ++block) {
    const uint4 w = WORDS(block);
    const ${T} v = unit(w.z);
% if double:
    const ${T} u = unit53(w.x, w.y) - ${lit(0.5)}, us = ${lit(0.5)} - fabs(u);
% else:
    const ${T} u = ((${T})(w.x >> 9) + ${lit(0.5)}) * ${lit(2.0**-23)} - ${lit(0.5)}, us = ${lit(0.5)} - fabs(u);
% endif
    const ${T} inverse_us = reciprocal(us);
    const ${T} k = floor((2 * a * inverse_us + b) * u + lam + ${lit(0.43)});
    if (us >= ${lit(0.07)} && v <= v_r) return k;
    if (k < 0 || (us < ${lit(0.013)} && v > us)) continue;
    const ${T} hat = a * inverse_us * inverse_us + b;
    if (ln(v * inverse_alpha) - ln(hat) <= log_probability(k, lam)) return k;
  }
  return floor(lam);
}
% endif

__kernel void ${name}(
    ${signature})
{
% for array, dtype in parameters:
  ${array} += ${array}_offset;
% endfor
  random += random_offset;
% if distribution == "randint":
  const ulong count = (ulong)high - (ulong)low;  // 0 means 2^64
  const bool narrow = count != 0 && count <= 0x100000000UL;
  const uint count32 = (uint)count;
  ulong refused = 0;
  if (narrow)
    refused = count32 == 0 ? 0 : (0 - count32) % count32;
  else if (count != 0)
    refused = (0 - count) % count;
% endif
% if shape == "cpu":
  const index_t share = (elements + get_global_size(0) - 1) / get_global_size(0);
  const index_t first = get_global_id(0) * share;
  for (index_t element = first; element < min(elements, first + share); ++element) {
% else:
  for (index_t element = get_global_id(0); element < elements; element += get_global_size(0)) {
% endif
% if parameters:
    const index_t row = element / samples;
% endif
% for array, dtype in parameters:
    const ${T} ${array[:-1]} = ${expr.convert(expr.load(dtype, array, "row"), expr.dtypes.compute_type(dtype), compute)};
% endfor
% if distribution == "uniform":
% if double:
    const uint4 w = WORDS(0);
    const ${T} u = (double)((ulong)w.x << 21 | w.y >> 11) * ${lit(2.0**-53)};
% else:
    const ${T} u = (${T})(WORDS(0).x >> 8) * ${lit(2.0**-24)};
% endif
    const ${T} sum = low + (high - low) * u;
    const ${T} value = sum < high || !(low < high) ? sum : nextafter(high, low);
% elif distribution == "normal":
    const ${T} value = loc + scale * standard_normal(element, seed, call);
% elif distribution == "exponential":
    const ${T} value = lam > 0 ? standard_exponential(WORDS(0)) * reciprocal(lam) : (${T})NAN;
% elif distribution == "gamma":
    const ${T} value = beta >= 0 ? standard_gamma(element, seed, call, alpha) * beta : (${T})NAN;
% elif distribution == "poisson":
    const ${T} value = poisson(element, seed, call, lam);
% elif distribution == "negative_binomial":
    const ${T} odds = p > 0 && p <= 1 ? (1 - p) * reciprocal(p) : (${T})NAN;
    const ${T} value = poisson(element, seed, call, standard_gamma(element, seed, call, k) * odds);
% elif distribution == "generalized_negative_binomial":
    const ${T} mean = alpha < ${lit(1e-30)} ? mu : standard_gamma(element, seed, call, reciprocal(alpha)) * (alpha * mu);
    const ${T} value = alpha >= 0 ? poisson(element, seed, call, mean) : (${T})NAN;
% elif distribution == "randint":
    ulong offset = 0;
    for (uint block = 0; block < 0xFFFFu; ++block) {
      const uint4 w = WORDS(block);
      const ulong wide = (ulong)w.x << 32 | w.y;
      const ulong product = narrow ? w.x * count : wide * count;
      offset = narrow ? product >> 32 : count == 0 ? wide : mul_hi(wide, count);
      if ((narrow ? (uint)product : product) >= refused) break;
    }
    const ${T} value = (${T})((long)low + (long)offset);
% endif
    ${store}
  }
}
