## Random numbers by Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
## 1, 2, 3", SC'11), keyed by element: block b of a call is philox(counter = (b, call), key = seed).
##
##     bits      a word                         uniform   low + (high - low) * u, below high
##     normal    loc + scale * Box-Muller       mask      u < keep ? 1 / keep : 0
##     dropout   y = x * mask, and the mask
##
## Layout: element e takes word e % 4 of block e / 4; in float64, words 2 * (e % 2) and the one after it of
##   block e / 2. Box-Muller joins the uniform numbers of elements 2k and 2k + 1, float64 all four words.
## CPU shape: WIDTH neighbouring blocks at a time, one vector for each word; the results are transposed
##   into the order of the elements for the store. A work-item takes one contiguous range of elements.
## GPU shape: one block at a time, neighbouring work-items take neighbouring blocks, in a grid-stride loop.
## What is left at the end, less than WIDTH blocks, runs one block at a time.
## Tunables: WIDTH, and the number of work-items (clgrad/kernels/random.py).
<%namespace name="common" file="common.mako"/>\
<%namespace name="random" file="philox.mako"/>\
<%
compute = expr.dtypes.compute_type(storage)
T = expr.dtypes.c_type(compute)
double = storage == expr.dtypes.float64
half, bfloat = storage == expr.dtypes.float16, storage == expr.dtypes.bfloat16
mask = distribution in ("mask", "dropout")
lit = lambda value: expr.c_literal(value, compute)

def vector(kind, lanes):
    return f"{kind}{lanes}" if lanes > 1 else kind

def convert(kind, text, lanes):
    return f"convert_{vector(kind, lanes)}({text})"

def choose(condition, yes, no, kind, lanes):
    return f"{condition} ? {yes} : {no}" if lanes == 1 else f"select(({kind})({no}), ({kind})({yes}), {condition})"

def bits53(e, lanes):
    low, high = convert("ulong", f"w{2 * e}", lanes), convert("ulong", f"w{2 * e + 1}", lanes)
    return f"{high} << 21 ^ {low} >> 11"

def in_order(q):
    """Vector q of the results in the order of the elements: their transpose."""
    places = (divmod(q * width + i, per_block) for i in range(width))
    return f"({T}{width})({', '.join(f'r{e}.s{block:x}' for block, e in places)})"

def store_random(value, position, lanes):
    """Uniform numbers of 16 bits are rounded down, lest they reach `high`."""
    if bfloat and distribution == "uniform":
        F, U = vector("float", lanes), vector("uint", lanes)
        upper = choose(f"{value} < 0", "0xFFFFu", "0u", U, lanes)
        value = f"as_{F}((as_{U}({value}) + ({upper})) & 0xFFFF0000u)"
    text = expr.store(storage, value, compute, "random", position, lanes)
    return text.replace("(", "_rtn(", 1) if half and distribution == "uniform" else text
%>\
## Ten rounds for `lanes` blocks from `block` on; words w0 to w3.
<%def name="philox(lanes)">\
<%
U = vector("uint", lanes)
# `block` is a multiple of `lanes`, a power of two: the sum carries nothing into the upper word.
iota = f" + ({U})({', '.join(map(str, range(lanes)))})" if lanes > 1 else ""
%>\
      const ulong number = block;
      ${U} w0 = (${U})((uint)number)${iota}, w1 = (${U})((uint)(number >> 32));
      ${U} w2 = (${U})((uint)call), w3 = (${U})((uint)(call >> 32));
${random.rounds(U)}\
</%def>\
## Uniform numbers from the words of element e of the block: u in [0, 1); positive_unit in (0, 1].
<%def name="unit(e, lanes)" filter="trim">
% if double:
${convert("double", bits53(e, lanes), lanes)} * ${lit(2.0**-53)}
% else:
${convert("float", f"w{e} >> 8", lanes)} * ${lit(2.0**-24)}
% endif
</%def>\
<%def name="positive_unit(e, lanes)" filter="trim">
% if double:
${convert("double", f"({bits53(e, lanes)}) + 1", lanes)} * ${lit(2.0**-53)}
% else:
${convert("float", f"w{e}", lanes)} * ${lit(2.0**-32)} + ${lit(2.0**-33)}
% endif
</%def>\
## Results r0, r1, ... of a block, one vector for each element of the block.
<%def name="results(lanes)">\
<% TV = vector(T, lanes) %>\
% if distribution == "bits":
% for e in range(per_block):
      const ${TV} r${e} = ${convert("long", f"w{e}", lanes)};
% endfor
% elif distribution == "normal":
% for e in range(0, per_block, 2):
      const ${TV} radius${e} = scale * sqrt(${lit(-2)} * log(${positive_unit(e, lanes)}));
      const ${TV} angle${e} = 2 * (${unit(e + 1, lanes)});  // in half turns
      const ${TV} r${e} = loc + radius${e} * cospi(angle${e}), r${e + 1} = loc + radius${e} * sinpi(angle${e});
% endfor
% else:
% for e in range(per_block):
      const ${TV} u${e} = ${unit(e, lanes)};
% if mask:
      const ${TV} r${e} = ${choose(f"u{e} < ({TV})(keep)", "kept", "0", TV, lanes)};
% else:
      const ${TV} v${e} = low + (high - low) * u${e};
      const ${TV} r${e} = ${choose(f"v{e} < ({TV})(high)", f"v{e}", "below", TV, lanes)};
% endif
% endfor
% endif
</%def>\
## Stores `lanes` numbers from `element + shift` on; dropout applies them to x as well.
<%def name="store_numbers(value, shift, lanes)">\
<% position = f"element + {shift}" if shift else "element" %>\
% if distribution == "dropout":
      {
        const ${vector(T, lanes)} m = ${value};
        ${expr.store(storage, "m", compute, "random", position, lanes)}
        ${expr.store(storage, f"m * {expr.load(storage, 'x', position, lanes)}", compute, "y", position, lanes)}
      }
% else:
      ${store_random(value, position, lanes)}
% endif
</%def>\
${common.prologue(signature, [])}
#pragma OPENCL FP_CONTRACT OFF  // a fused multiply-add rounds otherwise, and not every device has one

__kernel void ${name}(
    ${signature})
{
% if distribution == "dropout":
  x += x_offset;
  y += y_offset;
% endif
  random += random_offset;
% if mask:
  const ${T} kept = 1 / keep;
% elif distribution == "uniform":
  const ${T} below = nextafter(high, low);  // where the sum would round up to `high`
% endif
  const index_t groups = (elements + ${width * per_block - 1}) / ${width * per_block};
% if shape == "cpu":
  const index_t share = (groups + get_global_size(0) - 1) / get_global_size(0);
  const index_t first = get_global_id(0) * share;
  for (index_t group = first; group < min(groups, first + share); ++group) {
% else:
  for (index_t group = get_global_id(0); group < groups; group += get_global_size(0)) {
% endif
    index_t element = group * ${width * per_block};
    const index_t stop = min(elements, element + ${width * per_block});
% if width > 1:
    if (stop - element == ${width * per_block}) {
      const index_t block = group * ${width};
${philox(width)}\
${results(width)}\
% for q in range(per_block):
${store_numbers(in_order(q), q * width, width)}\
% endfor
      continue;
    }
% endif
    for (; element < stop; element += ${per_block}) {
      const index_t block = element / ${per_block};
${philox(1)}\
${results(1)}\
      if (stop - element >= ${per_block}) {
${store_numbers(f"({T}{per_block})({', '.join(f'r{e}' for e in range(per_block))})", 0, per_block)}\
        continue;
      }
${store_numbers("r0", 0, 1)}\
% for e in range(1, per_block - 1):
      if (stop - element > ${e})
${store_numbers(f"r{e}", e, 1)}\
% endfor
    }
  }
}
