<%page args="functions"/>\
## Elementary functions of any vector width, for runtimes whose own are slow or wrong in vectors.
##
## functions: sequence of (function, compute dtype, vector width); an instance is called FUNCTION_TYPE, such as
##   exp_float8 (clgrad/kernels/expr.py spells the calls).
## Method: nothing branches but the reduction of huge angles. Arguments are reduced (by multiples of ln 2 or
##   pi/2 in parts, by powers of two), a polynomial is evaluated, and edges are put right by selection. Books:
##   Muller, Elementary Functions (3rd ed. 2016), ch. 9 to 11; Muller et al., Handbook of Floating-Point
##   Arithmetic (2nd ed. 2018), ch. 4 and 10.
## Coefficients: minimax polynomials by Remez's algorithm, printed by `python -m benchmarks.minimax`, from the
##   lowest power up.
## Assumes: round to nearest, no fast-math. Contraction of a * b + c is welcome but not needed: products that
##   must be exact are of numbers cut to half the digits.
## Errors: docs/numerics.md; tests/test_accuracy.py and tests/test_elementary.py hold them.
<%!
from fractions import Fraction

COEFFICIENTS = {
    ("exp", "float"): (
        0.5000000013, 0.1666666676, 0.04166646495, 0.008333286026, 0.001393364601, 0.0001990757158,
    ),
    ("half_exp", "float"): (
        0.1249999836, -0.02083315086, 0.002604274207, -0.0002615221907, 2.158533911e-5,
    ),
    ("log", "float"): (
        0.6666677636, 0.3997754136, 0.2987175941,
    ),
    ("pow", "float"): (
        0.6000022805, 0.428207143, 0.3512764941,
    ),
    ("sin", "float"): (
        -0.1666665495, 0.008332178166, -0.0001951729742,
    ),
    ("cos", "float"): (
        0.04166664688, -0.001388736804, 2.443849298e-5,
    ),
    ("erf", "float"): (
        0.1283791668, -0.3761263531, 0.1128371973, -0.0268607533, 0.005204436998, -0.0008181935731,
        8.538865228e-5,
    ),
    ("erf_tail", "float"): (
        0.9941530954, -1.08944793, 0.8836123473, -0.5443172611, 0.2495644734, -0.08164066705,
        0.01784312757, -0.002318299748, 0.0001346830398,
    ),
    ("softplus", "float"): (
        0.08333301663, 0.01250677893, 0.00218743763, 0.0005473500126,
    ),
    ("ndtr", "float"): (
        0.7502940742, -0.5881882777, 0.3529396041, -0.1515208351, 0.037492508, 0.001200075438,
        -0.004169021195, 0.0005096218518, 0.0004434466133,
    ),
    ("exp", "double"): (
        0.5, 0.16666666666666671, 0.0416666666666666837, 0.00833333333332613991,
        0.00138888888888744622, 0.00019841269874803403, 0.0000248015873471969151,
        2.75572554225280445e-6, 2.75572530434755173e-7, 2.51052075614702246e-8,
        2.09215469479323458e-9,
    ),
    ("half_exp", "double"): (
        0.125000000000000001, -0.0208333333333333543, 0.00260416666666663093,
        -0.000260416666666157743, 0.0000217013888892428868, -1.55009921065234834e-6,
        9.68811989330596308e-8, -5.3822724406064548e-9, 2.69117009091959768e-10,
        -1.22617309037562617e-11, 5.08462961828011571e-13,
    ),
    ("log", "double"): (
        0.666666666666673441, 0.399999999994146989, 0.285714287423843027, 0.222221985734317926,
        0.181835643167942802, 0.153140507228830757, 0.147959485243716994,
    ),
    ("pow", "double"): (
        0.599999999999999663, 0.4285714285716765, 0.333333333263089548, 0.272727283049490952,
        0.230768353421651253, 0.200044747567342907, 0.175122556023667207, 0.179832878547003738,
    ),
    ("sin", "double"): (
        -0.166666666666666321, 0.00833333333332243741, -0.000198412698298251521,
        2.75573136974021745e-6, -2.50507589050024485e-8, 1.58968382907639575e-10,
    ),
    ("cos", "double"): (
        0.0416666666666665996, -0.00138888888888741435, 0.000024801587289494202,
        -2.75573143557787191e-7, 2.08757237419114978e-9, -1.13596722210992857e-11,
    ),
    ("erf", "double"): (
        0.128379167095512573, -0.376126389031837304, 0.112837916709538204, -0.0268661706448288207,
        0.00522397762182057192, -0.000854832676735515016, 0.000120553214861133902,
        -0.0000149253099233575287, 1.64553640937805965e-6, -1.62768516157912203e-7,
        1.40531704803173436e-8, -8.4977848417924776e-10,
    ),
    ("softplus", "double"): (
        0.0833333333333328797, 0.0125000000000491398, 0.00223214285530105003,
        0.000434027811909347753, 0.0000887780465032132275, 0.0000187824218118623873,
        4.05913489599899015e-6, 9.23621312056739594e-7, 1.5907455162630135e-7,
        8.11510145151022218e-8,
    ),
    ("ndtr", "double"): (
        0.774934710208729648, -0.690298500973864619, 0.546267677143520349, -0.381782330788546024,
        0.233251302762970377, -0.122457575653887254, 0.0536094558309662384, -0.0184276070546208548,
        0.00423040116198618112, -0.000173269777299655335, -0.000323528621958862852,
        0.000122813839306620815, -1.56274578630738065e-6, -0.0000133724782687286605,
        3.19566960429651683e-6, 1.04187925572655184e-6, -5.8937461289318399e-7,
        -6.07716014798688932e-8, 8.97937128707436006e-8, 2.42355914359172192e-9,
        -1.3100819059942855e-8, -7.40964070802310792e-10, 1.47782183625807301e-9,
        3.03065868294679767e-10,
    ),
}

# To 80 digits: parts of them are taken that are longer than a double.
LN2 = Fraction("0.69314718055994530941723212145817656807550013436025525412068000949339362196969471560586")
LN10 = Fraction("2.3025850929940456840179914546843642076011014886287729760333279009675726096773524802359972")
PI = 3.14159265358979323846
HALF_PI = Fraction("1.5707963267948966192313216916397514420985846996875529104874722961539082031431044993140174")

# 2 / pi in binary, after 64 zeros: enough for the largest double.
TWO_OVER_PI = (
    0x0, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561, 0xb7246e3a424dd2e0,
    0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4,
    0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
)

# What a function is made of, in the order of definition.
PARTS = {
    "exp": ("near", "scaled"),
    "expm1": ("near",),
    "tanh": ("near", "expm1"),
    "sinh": ("near",),
    "cosh": ("near", "scaled"),
    "erf": ("near",),
    "softplus": ("near",),
    "pow": ("near", "scaled"),
    "sin": ("far", "angle"),
    "cos": ("far", "angle"),
    "tan": ("far", "angle"),
}


def first_bits(value, bits):
    """The number rounded to so many binary digits after the point."""
    return Fraction(round(value * 2**bits), 2**bits)


def in_parts(value, bits, count):
    """Numbers of so many digits, and a last one in full, that add up to the value."""
    parts = []
    for step in range(count):
        parts.append(first_bits(value, bits * (step + 1) - 1))
        value -= parts[-1]
    return [float(p) for p in (*parts, value)]
%>\
<%
wanted = dict.fromkeys(
    (part, dtype, 1 if part == "far" else width)
    for function, dtype, width in functions
    for part in (*PARTS.get(function, ()), function)
)
%>\
% if any(function == "far" for function, *_ in wanted):
__constant ulong two_over_pi[${len(TWO_OVER_PI)}] = {
% for word in TWO_OVER_PI:
  ${hex(word)}UL,
% endfor
};
% endif
% for function, dtype, width in wanted:
<%
double = dtype.itemsize == 8
S, T = expr.dtypes.c_type(dtype), expr.dtypes.c_type(dtype, width)
integer = np.dtype("int64" if double else "int32")
J, I = expr.dtypes.c_type(integer), expr.dtypes.c_type(integer, width)
U = "u" + I
lit = lambda value: expr.c_literal(float(value), dtype)
splat = lambda value: f"({T})({lit(value)})"
whole = lambda value: f"({value}{'L' if double else ''})"
digits, bias = (52, 1023) if double else (23, 127)
one = bias << digits
root_half = int(np.array(0.5**0.5, dtype).view(integer))
sign_bit = f"({J})1 << {63 if double else 31}"
magic = 1.5 * 2**digits
magic_bits = (bias + digits << digits) + (1 << digits - 1)
half = 26 if double else 12
size = lambda name: f"as_{T}(as_{I}({name}) & {whole((1 << (63 if double else 31)) - 1)})"
with_sign = lambda y, x: f"as_{T}(as_{I}({y}) | (as_{I}({x}) & ({sign_bit})))"
cut = lambda name: f"as_{T}(as_{I}({name}) & {whole(-(1 << digits + 1 - half))})"
ln2_bits = 42 if double else 16
ln2_high = first_bits(LN2, ln2_bits)
ln2_low = LN2 - ln2_high
## Powers of two down to those below all denormals are normal numbers, this many powers higher: so only what
## makes up for it rounds.
lift = 640 if double else 80
## Above, exp overflows; below, it rounds to 0.
largest, least = (710, -746) if double else (89, -104)

def any_of(mask):
    """Whether any lane of a mask is set; PoCL would call a function for `any`, on every pass."""
    return " | ".join(f"{mask}.s{lane:x}" for lane in range(width))

def is_whole(variable):
    """Whether a variable that is not negative is a whole number."""
    limit = lit(2.0**digits)
    return f"(({variable} >= {limit}) | (({variable} + {limit}) - {limit} == {variable}))"

def estrin(coefficients, powers):
    """A polynomial as a balanced tree (Estrin, 1960): Horner's chain of dependent steps would leave the units idle."""
    if len(coefficients) == 1:
        return lit(coefficients[0])
    low = 1
    while 2 * low < len(coefficients) and 2 * low in powers:
        low *= 2
    upper, lower = estrin(coefficients[low:], powers), estrin(coefficients[:low], powers)
    return f"({upper} * {powers[low]} + {lower})"

def polynomial(name, variable, result, scale=1.0, most=64):
    """Statements that evaluate a polynomial, times a power of two; with powers of the variable up to `most`."""
    coefficients, powers, lines = [c * scale for c in COEFFICIENTS[name, S]], {1: variable}, []
    step = 1
    while 2 * step < len(coefficients) and step < most:
        powers[2 * step] = f"{result}{2 * step}"
        lines.append(f"const {T} {result}{2 * step} = {powers[step]} * {powers[step]};")
        step *= 2
    return " ".join([*lines, f"const {T} {result} = {estrin(coefficients, powers)};"])

def reduced(variable):
    """Statements that make `r` of a variable, and `shifted`, whose lowest bits are those of k."""
    return (
        f"const {T} shifted = {variable} * {lit(1 / LN2)} + {lit(magic)}, n = shifted - {lit(magic)};"
        f" const {T} r = ({variable} - n * {lit(ln2_high)}) - n * {lit(ln2_low)};"
    )

def split(variable, tiny=None):
    """Statements that make `m`, `n` and the biased `exponent` of a variable that is a positive normal number."""
    more = f"{tiny} ? {splat(digits + 2)} : {splat(0)}"
    return (
        f"const {U} bits = as_{U}({variable}), exponent = (bits + {whole(one - root_half)}) >> {digits};"
        f" const {T} m = as_{T}(bits - ((exponent - {whole(bias)}) << {digits}));"
        f" const {T} n = (as_{T}(exponent + {whole(magic_bits)}) - {lit(magic + bias)}){f' - ({more})' if tiny else ''};"
    )
%>\
% if function == "near":
// exp(r) - 1 for |r| <= ln 2 / 2.
inline ${T} near_${T}(${T} r) {
  ${polynomial("exp", "r", "p")}
  return r + r * r * p;
}
% elif function == "scaled":
// y 2^k for |k| <= 2 * ${bias}, in two steps, so that y rounds once where the result is denormal.
inline ${T} scaled_${T}(${T} y, ${I} k) {
  const ${I} first = k >> 1, second = k - first;
  return y * as_${T}((first + ${whole(bias)}) << ${digits}) * as_${T}((second + ${whole(bias)}) << ${digits});
}
% elif function == "exp":
// x = k ln 2 + r.
inline ${T} exp_${T}(${T} x) {
  x = x > ${lit(largest)} ? ${splat(largest)} : x;
  x = x < ${lit(least)} ? ${splat(least)} : x;
  ${reduced("x")}
  return scaled_${T}(near_${T}(r) + 1, as_${I}(shifted) - ${whole(magic_bits)});
}
% elif function == "rsqrt":
// Both are rounded correctly, in vectors as in scalars.
inline ${T} rsqrt_${T}(${T} x) {
  return 1 / sqrt(x);
}
% elif function == "expm1":
// 2^k (exp(r) - 1) + (2^k - 1), with half of 2^k, which overflows later.
inline ${T} expm1_${T}(${T} x) {
  ${T} c = x > ${lit(largest)} ? ${splat(largest)} : x;
  c = c < ${lit(-40 if double else -20)} ? ${splat(-40 if double else -20)} : c;
  ${reduced("c")}
  const ${T} scale = as_${T}((as_${I}(shifted) << ${digits}) + ${whole(bias - 1 << digits)});
  const ${T} y = (scale * near_${T}(r) + (scale - ${lit(0.5)})) * 2;
  return x == 0 ? x : y;
}
% elif function == "tanh":
// -t / (t + 2) for t = exp(-2 |x|) - 1.
inline ${T} tanh_${T}(${T} x) {
  const ${T} t = expm1_${T}(${size("x")} * -2);
  const ${T} y = -t / (t + 2);
  return ${with_sign("y", "x")};
}
% elif function == "sinh":
<% last = 710.6 if double else 89.5 %>\
// For e = exp(|x|) - 1: (e + e / (e + 1)) / 2, with a quarter of e, which overflows later.
inline ${T} sinh_${T}(${T} x) {
  ${T} a = ${size("x")};
  a = a > ${lit(last)} ? ${splat(last)} : a;
  ${reduced("a")}
  const ${T} scale = as_${T}((as_${I}(shifted) << ${digits}) + ${whole(bias - 2 << digits)});
  const ${T} e = scale * near_${T}(r) + (scale - ${lit(0.25)});
  const ${T} y = (e + e / (e * 4 + 1)) * 2;
  return a < ${lit(2.0**-half)} ? x : ${with_sign("y", "x")};
}
% elif function == "cosh":
<% last = 711 if double else 90 %>\
// e + 1 / (4 e) for e = exp(|x|) / 2.
inline ${T} cosh_${T}(${T} x) {
  ${T} a = ${size("x")};
  a = a > ${lit(last)} ? ${splat(last)} : a;
  ${reduced("a")}
  const ${T} e = scaled_${T}(near_${T}(r) + 1, as_${I}(shifted) - ${whole(magic_bits + 1)});
  return e + ${lit(0.25)} / e;
}
% elif function in ("log", "log2", "log10", "log1p"):
// x = 2^n m with m in [sqrt(1/2), sqrt(2)), and log(m) = 2 atanh(s) for s = (m - 1) / (m + 1), split into
// f - (f^2/2 - s (f^2/2 + rest)), f = m - 1, whose first term is exact.
inline ${T} ${function}_${T}(${T} x) {
% if function == "log1p":
  // What 1 + x rounds off is added to f: for n = 0, f is then x itself.
  const ${T} scaled = x + 1, back = scaled - 1;
  const ${T} lost = (1 - (scaled - back)) + (x - back);
  ${split("scaled")}
  const ${T} f = (m - 1) + lost * as_${T}((${whole(2 * bias)} - (exponent > ${whole(2 * bias)} ? (${U})${whole(2 * bias)} : exponent)) << ${digits});
% else:
  const ${I} tiny = x < ${lit(2.0 ** (1 - bias))};
  const ${T} scaled = tiny ? x * ${lit(2.0 ** (digits + 2))} : x;
  ${split("scaled", "tiny")}
  const ${T} f = m - 1;
% endif
  const ${T} s = f / (f + 2), z = s * s, square = f * f * ${lit(0.5)};
  ${polynomial("log", "z", "p")}
  const ${T} rest = s * (z * p + square);
% if function in ("log", "log1p"):
  ${T} y = n * ${lit(ln2_high)} - ((square - (rest + n * ${lit(ln2_low)})) - f);
% else:
<%
scale = 1 / LN2 if function == "log2" else 1 / LN10
scale_high = first_bits(scale, half - 1 if scale > 1 else half + 1)
unit = Fraction(1) if function == "log2" else LN2 / LN10
unit_high = first_bits(unit, ln2_bits)
%>\
  // In two parts, so that powers of the base come out whole.
  const ${T} whole = f - square, high = ${cut("whole")}, low = (f - high) - square + rest;
  const ${T} first = high * ${lit(scale_high)};
  const ${T} second = low * ${lit(scale)} + high * ${lit(scale - scale_high)}${f" + n * {lit(unit - unit_high)}" if unit != unit_high else ""};
  const ${T} start = n * ${lit(unit_high)}, sum = start + first;
  ${T} y = sum + ((start - sum) + first + second);
% endif
<% argument = "scaled" if function == "log1p" else "x" %>\
  y = ${argument} == 0 ? -${splat("inf")} : y;
  y = ${argument} >= 0 ? y : ${splat("nan")};
  return ${f"((x == 0) | (x == {lit('inf')}))" if function == "log1p" else f"x == {lit('inf')}"} ? x : y;
}
% elif function == "erf":
<% last, centre = (6 if double else 4), 5.65 %>\
// x P(x^2) near 0, else 1 - erfc(|x|).
inline ${T} erf_${T}(${T} x) {
  const ${T} square = x * x;
  ${polynomial("erf", "square", "p")}
  ${T} a = ${size("x")};
  a = a > ${lit(last)} ? ${splat(last)} : a;
  const ${T} exponent = a * -a;
  ${reduced("exponent")}
  const ${T} scale = as_${T}((as_${I}(shifted) << ${digits}) + ${whole(one)});
% if double:
  const ${T} t = 2 / (a * ${lit(2**0.5)} + ${lit(centre)}), q = 1 - t * ${lit(centre)};
  ${polynomial("ndtr", "q", "g")}
  const ${T} tail = g * t;
% else:
  ${polynomial("erf_tail", "a", "tail")}
% endif
  const ${T} y = 1 - (near_${T}(r) + 1) * scale * tail;
  return a < ${lit(0.9)} ? x + x * p : ${with_sign("y", "x")};
}
% elif function in ("ndtr", "gelu_slope"):
<% last, centre = (38.7, 5.65) if double else (14.3, 3.75) %>\
% if function == "ndtr":
// The normal distribution function: exp(-a^2 / 2) P(q) / (a + c) for a = |x|, q = (a - c) / (a + c), with the
// square in two parts, and from 0 on 1 less that.
% else:
// The normal distribution function, made as in ndtr, plus x times its derivative.
% endif
inline ${T} ${function}_${T}(${T} x) {
  ${T} a = ${size("x")};
  a = a > ${lit(last)} ? ${splat(last)} : a;
  const ${T} t = 1 / (a + ${lit(centre)}), q = (a - ${lit(centre)}) * t;
  // What a power of two is too much here, there is too little in e.
  ${polynomial("ndtr", "q", "g", 2.0**-lift, 2)}
  const ${T} high = ${cut("a")}, first = high * high, second = (a - high) * (a + high);
  const ${T} shifted = (first + second) * ${lit(-0.5 / LN2)} + ${lit(magic)}, n = shifted - ${lit(magic)};
  // exp(-rest / 2), whose exponent is added to: of NaN that makes a number, but g is NaN as well.
  const ${T} rest = (first + n * ${lit(2 * ln2_high)}) + (second + n * ${lit(2 * ln2_low)});
  ${polynomial("half_exp", "rest", "p", most=4 if double else 2)}
  const ${T} near = (p * rest - ${lit(0.5)}) * rest + 1;
  const ${T} e = as_${T}(as_${I}(near) + (as_${I}(shifted) << ${digits}) + ${whole(lift << digits)}), y = e * (g * t);
% if function == "ndtr":
  return x < 0 ? y : 1 - y;
% else:
  const ${T} lower = y - e * (a * ${lit(2.0**-lift / (2 * PI) ** 0.5)});
  return x < 0 ? lower : 1 - lower;
% endif
}
% elif function == "softplus":
// max(x, 0) + log(1 + e) for e = exp(-|x|); log(1 + e) = 2 atanh(t / 2) for t = 2 e / (2 + e).
inline ${T} softplus_${T}(${T} x) {
  ${T} a = -${size("x")};
  a = a < ${lit(least)} ? ${splat(least)} : a;
  ${reduced("a")}
  const ${T} e = (near_${T}(r) + 1) * as_${T}((as_${I}(shifted) << ${digits}) + ${whole(bias + lift << digits)});
  const ${T} t = e / (e * ${lit(0.5)} + ${lit(2.0**lift)}), w = t * t;
  ${polynomial("softplus", "w", "p")}
  return (t + t * w * p) + (x > 0 ? x : ${splat(0)});
}
% elif function == "pow":
<%
scale = Fraction(2, 3) / LN2
scale_high = first_bits(scale, half)
limit = 1100 if double else 160
%>\
// 2^(y log2|x|) with the logarithm in two parts: 3 atanh(s) = s (3 + s^2 + rest), each factor in two parts.
inline ${T} pow_${T}(${T} x, ${T} y) {
  const ${T} a = ${size("x")};
  const ${I} tiny = a < ${lit(2.0 ** (1 - bias))};
  const ${T} scaled = tiny ? a * ${lit(2.0 ** (digits + 2))} : a;
  ${split("scaled", "tiny")}
  const ${T} f = m - 1, below = m + 1, high = ${cut("below")}, low = m - (high - 1);
  const ${T} inverse = 1 / below, ratio = f * inverse, s_high = ${cut("ratio")};
  const ${T} s_low = ((f - s_high * high) - s_high * low) * inverse, s = s_high + s_low;
  const ${T} z_high = s_high * s_high, z_low = s_low * (s_high + s), z = z_high + z_low;
  ${polynomial("pow", "z", "p")}
  const ${T} rest = z * z * p + z_low, sum = (z_high + 3) + rest;
  const ${T} t_high = ${cut("sum")}, t_low = rest - ((t_high - 3) - z_high);
  const ${T} u = s_high * t_high, v = s_low * t_high + t_low * s, w = u + v;
  const ${T} w_high = ${cut("w")}, w_low = v - (w_high - u);
  const ${T} b_high = w_high * ${lit(scale_high)};
  const ${T} b_low = w_high * ${lit(scale - scale_high)} + w_low * ${lit(scale)};
  const ${T} log2 = (b_high + b_low) + n;
  const ${T} l_high = ${cut("log2")}, l_low = b_low - ((l_high - n) - b_high);
  const ${T} y_high = ${cut("y")}, product = y_high * l_high;
  const ${T} lower = (y - y_high) * l_high + y * l_low;
  const ${T} size = y * l_high;
  const ${T} shifted = (product + lower) + ${lit(magic)}, k = shifted - ${lit(magic)};
  const ${T} r = ((product - k) + lower) * ${lit(LN2)};
  ${T} result = scaled_${T}(near_${T}(r) + 1, as_${I}(shifted) - ${whole(magic_bits)});
  result = size > ${lit(limit)} ? ${splat("inf")} : result;
  result = size < ${lit(-limit)} ? ${splat(0)} : result;
  // Edges, as in C: 0 and infinity; the sign; what is not real; NaN; 1.
  const ${T} down = y < 0 ? ${splat("inf")} : ${splat(0)}, up = y < 0 ? ${splat(0)} : ${splat("inf")};
  result = a == 0 ? down : result;
  result = a == ${lit("inf")} ? up : result;
  result = a == 1 ? ${splat(1)} : result;
  const ${T} full = ${size("y")}, part = full * ${lit(0.5)};
  const ${I} whole = ${is_whole("full")}, odd = whole & !${is_whole("part")};
  result = ((as_${I}(x) < 0) & odd) ? -result : result;
  result = ((x < 0) & !whole & (a != ${lit("inf")})) ? ${splat("nan")} : result;
  result = ((x != x) | (y != y)) ? ${splat("nan")} : result;
  return ((x == 1) | (y == 0)) ? ${splat(1)} : result;
}
% elif function == "far":
// Payne and Hanek, "Radian reduction for trigonometric functions" (SIGNUM Newsletter 18, 1983): of a times 2 / pi,
// only the digits that are left when multiples of 4 are dropped, 192 of 2 / pi.
inline ${S} far_${S}(${S} a, ${J} *quadrant) {
  const ulong bits = as_${U}(a), digits = (bits & ${(1 << digits) - 1}UL) | ${1 << digits}UL;
  const int first = (int)(bits >> ${digits}) - ${bias + digits} - 2 + 64;
  __constant const ulong *word = two_over_pi + (first >> 6);
  const int by = first & 63, rest = 63 - by;
  const ulong high = (word[0] << by) | (word[1] >> 1 >> rest);
  const ulong middle = (word[1] << by) | (word[2] >> 1 >> rest);
  const ulong low = (word[2] << by) | (word[3] >> 1 >> rest);
  // The upper 128 digits of the fraction of a turn.
  const ulong part = digits * middle, fine = part + mul_hi(digits, low);
  const ulong turn = digits * high + mul_hi(digits, middle) + (fine < part ? 1 : 0);
  const ulong quarter = (turn + (1UL << 61)) >> 62;
  *quadrant = (${J})quarter;
  const long nearest = (long)(turn - (quarter << 62));
  const ${S} angle = (${S})nearest + (${S})fine * ${lit(2.0**-64)};
<% unit = Fraction(float(np.array(float(HALF_PI), dtype))) %>\
  return angle * ${lit(unit / 2**62)} + angle * ${lit((HALF_PI - unit) / 2**62)};
}
% elif function == "angle":
<% bits, limit = (33, 1.6e6) if double else (12, 6400) %>\
// a >= 0 less the nearest multiple of pi / 2, whose number is counted in the lowest bits of `quadrant` (Cody and
// Waite, Software Manual for the Elementary Functions, 1980). Lanes with huge angles are reduced one by one.
inline ${T} angle_${T}(${T} a, ${I} *quadrant) {
  const ${T} shifted = a * ${lit(1 / HALF_PI)} + ${lit(magic)}, n = shifted - ${lit(magic)};
  ${I} q = as_${I}(shifted);
<% parts = in_parts(HALF_PI, bits, 3) %>\
  ${T} r = (((a - n * ${lit(parts[0])}) - n * ${lit(parts[1])}) - n * ${lit(parts[2])}) - n * ${lit(parts[3])};
  const ${I} huge = (a > ${lit(limit)}) & (a < ${lit("inf")});
% if width == 1:
  if (huge) r = far_${S}(a, &q);
% else:
  if (${any_of("huge")}) {
    ${S} angles[${width}], rests[${width}];
    ${J} quadrants[${width}];
    vstore${width}(a, 0, angles);
    vstore${width}(r, 0, rests);
    vstore${width}(q, 0, quadrants);
    for (int lane = 0; lane < ${width}; ++lane)
      if (angles[lane] > ${lit(limit)} && angles[lane] < ${lit("inf")})
        rests[lane] = far_${S}(angles[lane], quadrants + lane);
    r = (${T})(${", ".join(f"rests[{lane}]" for lane in range(width))});
    q = (${I})(${", ".join(f"quadrants[{lane}]" for lane in range(width))});
  }
% endif
  *quadrant = q;
  return r;
}
% elif function in ("sin", "cos", "tan"):
inline ${T} ${function}_${T}(${T} x) {
  ${I} quadrant;
  const ${T} r = angle_${T}(${size("x")}, &quadrant), z = r * r, h = z * ${lit(0.5)}, w = 1 - h;
  ${polynomial("sin", "z", "p")}
  ${polynomial("cos", "z", "q")}
  const ${T} sine = r + r * z * p, cosine = w + (((1 - w) - h) + z * z * q);
% if function == "tan":
  const ${I} odd = (quadrant & 1) != 0;
  const ${T} y = (odd ? -cosine : sine) / (odd ? sine : cosine);
  return as_${T}(as_${I}(y) ^ (as_${I}(x) & (${sign_bit})));
% elif function == "sin":
  const ${T} y = (quadrant & 1) != 0 ? cosine : sine;
  return as_${T}(as_${I}(y) ^ ((quadrant << ${62 if double else 30} ^ as_${I}(x)) & (${sign_bit})));
% else:
  const ${T} y = (quadrant & 1) != 0 ? sine : cosine;
  return as_${T}(as_${I}(y) ^ ((quadrant + 1) << ${62 if double else 30} & (${sign_bit})));
% endif
}
% endif
% endfor
