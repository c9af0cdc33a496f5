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
<%
compute = expr.dtypes.compute_type(storage)
T = expr.dtypes.c_type(compute)
double = storage == expr.dtypes.float64
half = storage == expr.dtypes.float16
mask = distribution in ("mask", "dropout")
lit = lambda value: expr.c_literal(value, compute)

def component(vector, i, lanes):
    return vector if lanes == 1 else f"{vector}.s{i:x}"

def in_order(q, lanes):
    """Vector q of the results in the order of the elements: their transpose."""
    if lanes == 1:
        return f"r{q}"
    places = (divmod(q * lanes + i, per_block) for i in range(lanes))
    return f"({T}{lanes})({', '.join(component(f'r{word}', block, lanes) for block, word in places)})"

def store_random(value, position, lanes):
    """Uniform numbers in float16 are rounded down, lest they reach `high`."""
    text = expr.store(storage, value, compute, "random", position, lanes)
    return text.replace("(", "_rtn(", 1) if half and distribution == "uniform" else text
%>\
## Ten rounds for `lanes` blocks; words w0 to w3.
<%def name="philox(block, lanes)">\
<% U = "uint" + (str(lanes) if lanes > 1 else "") %>\
      ${U} w0 = ${"(uint)" + block if lanes == 1 else f"convert_{U}((ulong{lanes})({block}) + (ulong{lanes})({', '.join(map(str, range(lanes)))}))"};
      ${U} w1 = ${"(uint)((ulong)" + block + " >> 32)" if lanes == 1 else f"convert_{U}(((ulong{lanes})({block}) + (ulong{lanes})({', '.join(map(str, range(lanes)))})) >> 32)"};
      ${U} w2 = (${U})((uint)call), w3 = (${U})((uint)(call >> 32));
      uint key0 = (uint)seed, key1 = (uint)(seed >> 32);
      for (int round = 0; round < 10; ++round) {
        const ${U} high0 = mul_hi(w0, (${U})(0xD2511F53u)), low0 = w0 * 0xD2511F53u;
        const ${U} high1 = mul_hi(w2, (${U})(0xCD9E8D57u)), low1 = w2 * 0xCD9E8D57u;
        w0 = high1 ^ w1 ^ key0;
        w1 = low1;
        w2 = high0 ^ w3 ^ key1;
        w3 = low0;
        key0 += 0x9E3779B9u;  // the golden ratio
        key1 += 0xBB67AE85u;  // sqrt(3) - 1
      }
</%def>\
## Uniform numbers u0, u1, ... in [0, 1), from the words; `one` makes it (0, 1], for logarithms.
<%def name="unit(target, word, lanes, one=0)">\
<% V = lambda kind: kind + (str(lanes) if lanes > 1 else ""); to = lambda kind, text: f"({kind})({text})" if lanes == 1 else f"convert_{kind}{lanes}({text})" %>\
% if double:
      const ${V("double")} ${target} = ${to("double", f"({to('ulong', f'w{word + 1}')} << 21 ^ {to('ulong', f'w{word}')} >> 11) + {one}")} * ${lit(2.0**-53)};
% else:
      const ${V("float")} ${target} = ${to("float", f"(w{word} >> 8) + {one}")} * ${lit(2.0**-24)};
% endif
</%def>\
## Results r0, r1, ... of a block, one vector for each element of the block.
<%def name="results(lanes)">\
<% TV = T + (str(lanes) if lanes > 1 else ""); words = 2 if double else 1 %>\
% if distribution == "bits":
% for e in range(4):
      const ${TV} r${e} = ${f"(long)w{e}" if lanes == 1 else f"convert_long{lanes}(w{e})"};
% endfor
% elif distribution == "normal":
% for e in range(0, per_block, 2):
${unit(f"u{e}", e * words, lanes, one=1)}\
${unit(f"u{e + 1}", (e + 1) * words, lanes)}\
      const ${TV} radius${e} = sqrt(${lit(-2)} * log(u${e})) * scale;
      const ${TV} r${e} = loc + radius${e} * cospi(2 * u${e + 1}), r${e + 1} = loc + radius${e} * sinpi(2 * u${e + 1});
% endfor
% else:
% for e in range(per_block):
${unit(f"u{e}", e * words, lanes)}\
% if mask:
<% C = TV.replace("float", "int").replace("double", "long") %>\
      const ${TV} r${e} = ${f"u{e} < keep ? kept : 0" if lanes == 1 else f"select(({TV})(0), ({TV})(kept), u{e} < ({TV})(keep))"};
% else:
      const ${TV} v${e} = low + (high - low) * u${e};
      const ${TV} r${e} = ${f"v{e} < high ? v{e} : below" if lanes == 1 else f"select(({TV})(below), v{e}, v{e} < ({TV})(high))"};
% endif
% endfor
% endif
</%def>\
${common.prologue(signature, [], fp64)}
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
${philox("block", width)}\
${results(width)}\
% for q in range(per_block):
${store_all(in_order(q, width), f"element + {q * width}", width)}\
% endfor
      continue;
    }
% endif
    for (; element < stop; element += ${per_block}) {
      const index_t block = element / ${per_block};
${philox("block", 1)}\
${results(1)}\
% for q in range(per_block):
      if (element + ${q} < stop) {
${store_all(f"r{q}", f"element + {q}", 1)}\
      }
% endfor
    }
  }
}
<%def name="store_all(value, position, lanes)">\
% if distribution == "dropout":
      {
        const ${T}${lanes if lanes > 1 else ""} value = ${value};
        ${expr.store(storage, "value", compute, "random", position, lanes)}
        ${expr.store(storage, f"value * {expr.load(storage, 'x', position, lanes)}", compute, "y", position, lanes)}
      }
% else:
      ${store_random(value, position, lanes)}
% endif
</%def>\
