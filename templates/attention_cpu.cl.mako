## Scaled dot-product attention, CPU shape: the forward pass, or gradients. For each (batch, head), with queries
## q_i, keys k_j and values v_j of `size` elements, and f_ij the factors of dropout (1 without it):
##
##     s_ij = scale q_i k_j + mask_ij      l_i = log sum_j exp(s_ij)        p_ij = exp(s_ij - l_i)
##     forward   y_i = sum_j p_ij f_ij v_j                                  and l_i
##     gradients dp_ij = dy_i v_j          delta_i = dy_i y_i               ds_ij = scale p_ij (f_ij dp_ij - delta_i)
##       queries   dq_i = sum_j ds_ij k_j                                   and delta_i
##       keys      dk_j = sum_i ds_ij q_i,  dv_j = sum_i p_ij f_ij dy_i
##       all       those of keys, and dq_i and delta_i as they come by
##
## Method: online softmax (M. Milakov, N. Gimelshein: Online normalizer calculation for softmax, 2018), and tiles of
##   s that never reach memory, computed again for the gradients (T. Dao et al.: FlashAttention, NeurIPS 2022; T.
##   Dao: FlashAttention-2, 2023).
## Names: OWN is what a work-item computes results for (queries, or keys), OTHER what it runs over.
## Work: a work-item takes `share` blocks of WIDTH = vectors * lanes own rows, one after the other, and for each runs
##   over blocks of BLOCK other rows. Own rows lie transposed in local memory (on CPUs: cache), so that lanes are own
##   rows everywhere: tiles of s are products of scalars of the other rows, in place, with vectors of own rows, and
##   maxima and sums need no folding. Range: (own blocks / share, batch * heads); work-groups of one item.
## Arrays: C order; query, y and dy (batch, heads, queries, size), key and value (batch, heads, keys, size), lse and
##   delta (batch, heads, queries) in the compute type. Other rows of 16-bit types are converted once for a block.
## Edges: own rows beyond the last repeat it and are not stored; other rows beyond the last are not added.
## A query without any key: l = +infinity, so that y and all gradients are 0.
## Dropout: f_ij is the mask that random.cl.mako draws for an array (batch, heads, queries, keys), the last axis rounded
##   up to a multiple of 4 so that blocks of Philox do not cross rows.
## Tunables (clgrad/kernels/attention.py): lanes, vectors, rows, block, share.
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
<%namespace name="random" file="philox.mako"/>\
<%
V, W, D = lanes, lanes * vectors, size
TV = f"{T}{V}"
M = "long" if T == "double" else "int"
MV = f"{M}{V}"
own_queries = kind in ("forward", "queries")
forward, fused = kind == "forward", kind == "all"
n_own, n_other = ("queries", "keys") if own_queries else ("keys", "queries")
# Tiles: (transposed own rows, other rows, where their products go); sums: (tile, other rows, result).
if own_queries:
    tiles = [("query", "key", "scores"), ("dy", "value", "slopes")][: 1 if forward else 2]
    sums = [("scores", "value", "y")] if forward else [("slopes", "key", "d_query")]
else:
    tiles = [("key", "query", "scores"), ("value", "dy", "slopes")]
    sums = [("scores", "dy", "d_value"), ("slopes", "query", "d_key")]
others = dict.fromkeys([t[1] for t in tiles] + [s[1] for s in sums])
staged = storage != compute
# Rows of a tile of results: as many as divide the size, if that is not too few.
sum_rows = next((r for r in range(rows, rows // 2, -1) if D % r == 0), rows)
sum_height = -(-D // sum_rows) * sum_rows
per_philox = 2 if T == "double" else 4
lit = lambda value: expr.c_literal(value, compute)
vectors_of = range(vectors)
iota = ", ".join(map(str, range(V)))
exp = f"exp_{TV}" if own_exp else "exp"

def other_element(name, row, element):
    """Element of another row of the block, a C expression."""
    if staged:
        return f"{name}_rows[({row}) * {D} + {element}]"
    return f"{name}[{name}_first + (index_t)({row}) * {D} + {element}]"

def components(text):
    """A vector of what `text` spells for own row `row`, the last one again beyond it."""
    return f"({{}})({', '.join(text(f'min(own0 + @ + {i}, {n_own} - 1)') for i in range(V))})"

def of_own(kind_, text, v):
    return components(text).format(kind_).replace("@", str(v * V))
%>\
${common.prologue(signature, [('exp', compute, V)] if own_exp else [])}
## ---- Own rows, transposed into local memory, and results out of it ----------------------------------------------
## Arrays take turns in one piece of code: the transposition is most of what compilers have to do.
<%def name="turns(locals_, names, const)">\
<% chosen = lambda words: words[0] if len(words) == 1 else f"turn ? {words[1]} : {words[0]}" %>\
    for (int turn = 0; turn < ${len(names)}; ++turn) {
      __global ${const}${expr.dtypes.describe(storage).storage} *outside = (${chosen(names)}) + own_first;
      __local ${T} *inside = ${chosen(locals_)};
</%def>\
<%def name="take_own(names)">\
${turns([f"{n}_own" for n in names], names, "const ")}\
% if D % V == 0:
      if (whole) {
        for (int v = 0; v < ${vectors}; ++v)
          for (int d = 0; d < ${D}; d += ${V}) {
${operands.transposed(
    lambda i: expr.load(storage, "outside", f"(v * {V} + {i}) * {D} + d", V),
    lambda i, value: f"vstore{V}({value}, 0, inside + (d + {i}) * {W} + v * {V});")}\
          }
        continue;
      }
% endif
      for (int i = 0; i < ${W}; ++i)
        for (int d = 0; d < ${D}; ++d)
          inside[d * ${W} + i] = ${expr.load(storage, "outside", f"min(i, own_count - 1) * {D} + d")};
    }
</%def>\
<%def name="give(names)">\
${turns([f"{n}_sums" for n in names], names, "")}\
% if D % V == 0:
      if (whole) {
        for (int v = 0; v < ${vectors}; ++v)
          for (int d = 0; d < ${D}; d += ${V}) {
${operands.transposed(
    lambda i: f"vload{V}(0, inside + (d + {i}) * {W} + v * {V})",
    lambda i, value: expr.store(storage, value, compute, "outside", f"(v * {V} + {i}) * {D} + d", V))}\
          }
        continue;
      }
% endif
      for (int i = 0; i < own_count; ++i)
        for (int d = 0; d < ${D}; ++d) {
          ${expr.store(storage, f"inside[d * {W} + i]", compute, "outside", f"i * {D} + d")}
        }
    }
</%def>\
## ---- Products ------------------------------------------------------------------------------------------------------
## A tile: the products of all other rows of the block with all own rows.
<%def name="tile(own, other, into)">\
      for (int j = 0; j < count; j += ${rows}) {
% for i in range(rows):
        const int row${i} = ${f"min(j + {i}, count - 1)" if i else "j"};
% for v in vectors_of:
        ${TV} c${i}_${v} = (${TV})(0);
% endfor
% endfor
        for (int d = 0; d < ${D}; ++d) {
% for v in vectors_of:
          const ${TV} b${v} = vload${V}(0, ${own}_own + d * ${W} + ${v * V});
% endfor
% for i in range(rows):
          {
            const ${T} x = ${other_element(other, f"row{i}", "d")};
% for v in vectors_of:
            c${i}_${v} = x * b${v} + c${i}_${v};
% endfor
          }
% endfor
        }
% for i in range(rows):
% for v in vectors_of:
        vstore${V}(c${i}_${v}, 0, ${into} + (j + ${i}) * ${W} + ${v * V});
% endfor
% endfor
      }
</%def>\
## Adds the other rows, weighted by a tile, to results.
<%def name="weighted_sum(weights, other, result)">\
      for (int e = 0; e < ${D}; e += ${sum_rows}) {
% for i in range(sum_rows):
        const int column${i} = ${f"min(e + {i}, {D - 1})" if D % sum_rows else f"e + {i}"};
% for v in vectors_of:
        ${TV} c${i}_${v} = vload${V}(0, ${result}_sums + (e + ${i}) * ${W} + ${v * V})${f" * alpha{v}" if forward else ""};
% endfor
% endfor
        for (int j = 0; j < count; ++j) {
% for v in vectors_of:
          const ${TV} b${v} = vload${V}(0, ${weights} + j * ${W} + ${v * V});
% endfor
% for i in range(sum_rows):
          {
            const ${T} x = ${other_element(other, "j", f"column{i}")};
% for v in vectors_of:
            c${i}_${v} = x * b${v} + c${i}_${v};
% endfor
          }
% endfor
        }
% for i in range(sum_rows):
% for v in vectors_of:
        vstore${V}(c${i}_${v}, 0, ${result}_sums + (e + ${i}) * ${W} + ${v * V});
% endfor
% endfor
      }
</%def>\
## Adds the own rows, weighted by the tile of slopes, to the gradients of the other rows in global memory.
<%def name="give_to_others()">\
<% pieces = 2 if D % (2 * V) == 0 else 1 %>\
      for (int j = 0; j < count; j += ${rows})
        for (int e = 0; e < ${D}; e += ${pieces * V}) {
% for i in range(rows):
          const int row${i} = ${f"min(j + {i}, count - 1)" if i else "j"};
% for v in range(pieces):
          ${TV} c${i}_${v} = own0 == 0 ? (${TV})(0) : vload${V}(0, d_query + query_first + (index_t)row${i} * ${D} + e + ${v * V});
% endfor
% endfor
          for (int r = 0; r < own_count; ++r) {
% for v in range(pieces):
            const ${TV} b${v} = vload${V}(0, key + own_first + (index_t)r * ${D} + e + ${v * V});
% endfor
% for i in range(rows):
            {
              const ${T} x = slopes[row${i} * ${W} + r];
% for v in range(pieces):
              c${i}_${v} = x * b${v} + c${i}_${v};
% endfor
            }
% endfor
          }
% for i in range(rows):
          if (j + ${i} < count) {
% for v in range(pieces):
            vstore${V}(c${i}_${v}, 0, d_query + query_first + (index_t)(j + ${i}) * ${D} + e + ${v * V});
% endfor
          }
% endfor
        }
</%def>\
## ---- What happens to each score --------------------------------------------------------------------------------------
## s${"{v}"} from the products of other row `j`: scaled, and masked.
<%def name="score(j)">\
% for v in vectors_of:
        ${TV} s${v} = vload${V}(0, scores + (${j}) * ${W} + ${v * V}) * scale;
% endfor
% if mask is not None:
        {
          const index_t mask_row = mask_first + (other0 + ${j}) * mask_${n_other};
% for v in vectors_of:
<%
element = lambda row: expr.load(mask, "mask", f"mask_row + {row} * mask_{n_own}")
kind_ = TV if mask_adds else MV
%>\
% if mask_own == 0 and mask_adds:
          s${v} += (${TV})(${expr.load(mask, "mask", "mask_row")});
% elif mask_own == 0:
          s${v} = mask[mask_row] ? s${v} : (${TV})(-INFINITY);
% else:
          const ${kind_} m${v} = \
% if mask_own == 1:
whole ? ${"" if mask_adds else f"convert_{MV}"}(${expr.load(mask, "mask", f"mask_row + own0 + {v * V}", V)}) : \
% endif
${of_own(kind_, element, v)};
          s${v} = ${f"s{v} + m{v}" if mask_adds else f"select(({TV})(-INFINITY), s{v}, m{v} != ({MV})(0))"};
% endif
% endfor
        }
% endif
% if causal:
        if (diagonal) {
          const ${M} place = other0 + ${j};
% for v in vectors_of:
          s${v} = select(s${v}, (${TV})(-INFINITY), ${f"own_at{v} < ({MV})(place)" if own_queries else f"own_at{v} > ({MV})(place)"});
% endfor
        }
% endif
</%def>\
## Factors of dropout f0, f1, ... (vectors v) of other row `j`, whose words are words{v}_{j % per_philox}.
<%def name="uniform(low, high, lanes_)" buffered="True" filter="trim">
% if T == "double":
convert_double${lanes_}((convert_ulong${lanes_}(${high}) << 21 ^ convert_ulong${lanes_}(${low}) >> 11)) * ${lit(2.0**-53)}
% else:
convert_float${lanes_}(${low} >> 8) * ${lit(2.0**-24)}
% endif
</%def>\
## Lanes are queries: one block of Philox for each, for per_philox keys from other row j on.
<%def name="factors_of_keys()">\
<% U = f"uint{V}" %>\
% for v in vectors_of:
% for e in range(per_philox):
        ${TV} f${v}_${e};
% endfor
        {
          const ulong number = ((ulong)matrix * queries + own0 + ${v * V}) * row_blocks + (other0 + j) / ${per_philox};
          const ${U} start = (${U})((uint)number);
          ${U} w0 = start + (${U})(${iota}) * (${U})((uint)row_blocks);
          ${U} w1 = (${U})((uint)(number >> 32)) - as_${U}(w0 < start);
          ${U} w2 = (${U})((uint)call), w3 = (${U})((uint)(call >> 32));
${random.rounds(U)}\
% for e in range(per_philox):
<% low, high = (f"w{2 * e}", f"w{2 * e + 1}") if per_philox == 2 else (f"w{e}", "") %>\
          const ${TV} u${e} = ${uniform(low, high, V)};
          f${v}_${e} = select((${TV})(0), (${TV})(kept), u${e} < (${TV})(keep));
% endfor
        }
% endfor
</%def>\
## Lanes are keys: blocks of Philox side by side, for the query of other row j.
<%def name="factors_of_query()">\
<% B = W // per_philox; U = f"uint{B}"; F = f"{T}{B}" %>\
% for v in vectors_of:
        ${TV} f${v}_0;
% endfor
        {
          const ulong number = ((ulong)matrix * queries + other0 + j) * row_blocks + own0 / ${per_philox};
          const ${U} start = (${U})((uint)number);
          ${U} w0 = start + (${U})(${", ".join(map(str, range(B)))});
          ${U} w1 = (${U})((uint)(number >> 32)) - as_${U}(w0 < start);
          ${U} w2 = (${U})((uint)call), w3 = (${U})((uint)(call >> 32));
${random.rounds(U)}\
% for e in range(per_philox):
<% low, high = (f"w{2 * e}", f"w{2 * e + 1}") if per_philox == 2 else (f"w{e}", "") %>\
          const ${F} u${e} = ${uniform(low, high, B)};
          const ${F} r${e} = select((${F})(0), (${F})(kept), u${e} < (${F})(keep));
% endfor
% for v in vectors_of:
<% places = [divmod(v * V + i, per_philox) for i in range(V)] %>\
          f${v}_0 = (${TV})(${", ".join(f"r{e}.s{block:x}" for block, e in places)});
% endfor
        }
</%def>\
## The forward pass: largest scores, then exponentials and their sums.
<%def name="soften()">\
% for v in vectors_of:
      ${TV} top${v} = largest${v};
% endfor
      for (int j = 0; j < count; ++j) {
${score("j")}\
% for v in vectors_of:
        top${v} = select(top${v}, s${v}, s${v} > top${v});
        vstore${V}(s${v}, 0, scores + j * ${W} + ${v * V});
% endfor
      }
% for v in vectors_of:
      const ${TV} base${v} = select(top${v}, (${TV})(0), top${v} == (${TV})(-INFINITY));
      const ${TV} alpha${v} = ${exp}(largest${v} - base${v});
      largest${v} = top${v};
      total${v} *= alpha${v};
% endfor
      for (int j = 0; j < count; j += ${per_philox if dropout else 1}) {
% if dropout:
${factors_of_keys()}\
% endif
% for e in range(per_philox if dropout else 1):
        ${f"if (j + {e} < count)" if e else ""} {
% for v in vectors_of:
          const ${TV} p${v} = ${exp}(vload${V}(0, scores + (j + ${e}) * ${W} + ${v * V}) - base${v});
          total${v} += p${v};
          vstore${V}(p${v}${f" * f{v}_{e}" if dropout else ""}, 0, scores + (j + ${e}) * ${W} + ${v * V});
% endfor
        }
% endfor
      }
</%def>\
## The gradients: ds in the place of the slopes, and p f in that of the scores.
<%def name="differentiate()">\
<% steps = per_philox if dropout and own_queries else 1 %>\
      for (int j = 0; j < count; j += ${steps}) {
% if dropout and own_queries:
${factors_of_keys()}\
% elif dropout:
${factors_of_query()}\
% endif
% for e in range(steps):
        ${f"if (j + {e} < count)" if e else ""} {
${score(f"j + {e}" if e else "j")}\
% if not own_queries:
          const ${T} lse_ = lse[matrix * queries + other0 + j], delta_ = delta[matrix * queries + other0 + j];
% endif
% for v in vectors_of:
<%
at = f"(j + {e}) * {W} + {v * V}"
lse_, delta_ = (f"own_lse{v}", f"own_delta{v}") if own_queries else (f"({TV})(lse_)", f"({TV})(delta_)")
times_f = f" * f{v}_{e}" if dropout else ""
%>\
          const ${TV} p${v} = ${exp}(s${v} - ${lse_});
          vstore${V}(p${v} * (vload${V}(0, slopes + ${at})${times_f} - ${delta_}) * scale, 0, slopes + ${at});
% if not own_queries:
          vstore${V}(p${v}${times_f}, 0, scores + ${at});
% endif
% endfor
        }
% endfor
      }
</%def>\
## delta of queries [first, last).
<%def name="find_delta(first, last)">\
  for (index_t i = ${first}; i < ${last}; ++i) {
    const index_t at = (matrix * queries + i) * ${D};
    ${T} sum = 0;
% if D >= V:
    ${TV} sum_lanes = (${TV})(0);
    for (int d = 0; d + ${V} <= ${D}; d += ${V})
      sum_lanes += ${expr.load(storage, "dy", "at + d", V)} * ${expr.load(storage, "y", "at + d", V)};
    sum = ${" + ".join(f"sum_lanes.s{i:x}" for i in range(V))};
% endif
% if D % V:
    for (int d = ${D // V * V}; d < ${D}; ++d)
      sum += ${expr.load(storage, "dy", "at + d")} * ${expr.load(storage, "y", "at + d")};
% endif
    delta[matrix * queries + i] = sum;
  }
</%def>\
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${signature})
{
% for array in arrays:
  ${array} += ${array}_offset;
% endfor
% for own, _, into in tiles:
  __local ${T} ${own}_own[${D * W}] __attribute__((aligned(64)));
  __local ${T} ${into}[${-(-block // rows) * rows * W}] __attribute__((aligned(64)));
% endfor
% for _, _, result in sums:
  __local ${T} ${result}_sums[${sum_height * W}] __attribute__((aligned(64)));
% endfor
% if staged:
% for other in others:
  __local ${T} ${other}_rows[${block * D}];
% endfor
% endif
  const index_t matrix = get_global_id(1);
% if dropout:
  const index_t row_blocks = (keys + 3) / 4 * ${4 // per_philox};
  const ${T} kept = 1 / keep;
% endif
% if mask is not None:
  const index_t mask_first = matrix / heads * mask_batch + matrix % heads * mask_head;
% endif
% if fused:
${find_delta("0", "queries")}\
% endif
  const index_t own_begin = get_global_id(0) * share * ${W};
  const index_t own_end = min(${n_own}, own_begin + share * ${W});
  for (index_t own0 = own_begin; own0 < own_end; own0 += ${W}) {
    const int own_count = min((index_t)${W}, ${n_own} - own0);
    const bool whole = own_count == ${W};
    const index_t own_first = (matrix * ${n_own} + own0) * ${D};
${take_own([own for own, _, _ in tiles])}\
% for _, _, result in sums:
    for (int i = 0; i < ${sum_height * W}; i += ${V}) vstore${V}((${TV})(0), 0, ${result}_sums + i);
% endfor
% if causal:
% for v in vectors_of:
    const ${MV} own_at${v} = (${MV})((${M})(own0 + ${v * V})) + (${MV})(${iota});
% endfor
% endif
% if forward:
% for v in vectors_of:
    ${TV} largest${v} = (${TV})(-INFINITY), total${v} = (${TV})(0);
% endfor
% elif own_queries:
${find_delta("own0", "own0 + own_count")}\
% for v in vectors_of:
% for which in ("lse", "delta"):
    const ${TV} own_${which}${v} = ${of_own(TV, lambda row: f"{which}[matrix * queries + {row}]", v)};
% endfor
% endfor
% endif
% if not causal:
    const index_t other_begin = 0, other_end = ${n_other};
% elif own_queries:
    const index_t other_begin = 0, other_end = min(keys, own0 + own_count);
% else:
    const index_t other_begin = min(queries, own0), other_end = queries;
% endif
    for (index_t other0 = other_begin; other0 < other_end; other0 += ${block}) {
      const int count = min((index_t)${block}, other_end - other0);
% if causal:
      const bool diagonal = ${"other0 + count - 1 > own0" if own_queries else f"other0 < own0 + {W - 1}"};
% endif
% for other in others:
      const index_t ${other}_first = (matrix * ${n_other} + other0) * ${D};
% if staged:
      for (int i = 0; i < count * ${D}; ++i) ${other}_rows[i] = ${expr.load(storage, other, f"{other}_first + i")};
% endif
% endfor
% for own, other, into in tiles:
${tile(own, other, into)}\
% endfor
${soften() if forward else differentiate()}\
% for weights, other, result in sums:
${weighted_sum(weights, other, result)}\
% endfor
% if fused:
${give_to_others()}\
% endif
    }
% if forward:
% for v in vectors_of:
    const ${TV} inverse${v} = select(1 / total${v}, (${TV})(0), total${v} == (${TV})(0));
    const ${TV} lse${v} = select(largest${v} + log(total${v}), (${TV})(INFINITY), total${v} == (${TV})(0));
% for i in range(V):
    if (${v * V + i} < own_count) lse[matrix * queries + own0 + ${v * V + i}] = lse${v}.s${f"{i:x}"};
% endfor
% endfor
    for (int e = 0; e < ${D}; ++e) {
% for v in vectors_of:
      vstore${V}(vload${V}(0, y_sums + e * ${W} + ${v * V}) * inverse${v}, 0, y_sums + e * ${W} + ${v * V});
% endfor
    }
% endif
${give([result for _, _, result in sums])}\
  }
}
