## Scaled dot-product attention, GPU shape: the forward pass, or gradients of queries, or of keys and values. What is
## computed, its sources, the arrays and dropout are those of attention_cpu.cl.mako.
##
## Names: OWN is what a work-group computes results for (TILE queries, or keys), OTHER what it runs over, TILE rows at
##   a time. Each work-item has 4 x 4 scores of a tile, and of the results of the same 4 own rows every ACROSS-th
##   column, in registers.
## Method: one loop over steps, with two barriers each, so that every compiler sees a single loop. For each block of
##   other rows come the steps of the products (DEPTH elements of own and other rows, in local memory), then those
##   of the sums (SUM_DEPTH other rows in local memory, and the tile of weights). What only happens between two kinds of
##   steps is done at the beginning of the later one.
## Layout in local memory: slabs [element][row], weights [other row][own row], padded by 4 against bank conflicts;
##   the slabs of products and of sums share their place. RESIDENT own rows are loaded once.
## Range: (own tiles * group, batch * heads); work-groups are full, and nobody leaves before a barrier.
## Edges: rows and elements that do not exist are 0 in local memory; scores of other rows that do not exist weigh 0.
## Tunables (clgrad/kernels/attention.py): tile, depth, sum_depth, resident.
<%namespace name="common" file="common.mako"/>\
<%namespace name="random" file="philox.mako"/>\
<%
D = size
T4 = f"{T}4"
M = "long" if T == "double" else "int"
own_queries = kind in ("forward", "queries")
forward = kind == "forward"
n_own, n_other = ("queries", "keys") if own_queries else ("keys", "queries")
if own_queries:
    tiles = [("query", "key", "s"), ("dy", "value", "g")][: 1 if forward else 2]
    sums = [("key" if not forward else "value", "y" if forward else "d_query", "s" if forward else "g")]
else:
    tiles = [("key", "query", "s"), ("value", "dy", "g")]
    sums = [("dy", "d_value", "s"), ("query", "d_key", "g")]
across = tile // 4
group = across * across
pitch = tile + 4
slabs = -(-D // depth)
columns = -(-D // across)
sum_steps = tile // sum_depth
steps = slabs * len(tiles) + sum_steps * len(sums)
own_depth = slabs * depth
pool = max((1 if resident else 2) * depth * pitch, sum_depth * columns * across)
lit = lambda value: expr.c_literal(value, compute)
%>\
${common.prologue(signature, ())}
% if dropout:
// Factors of dropout of the 4 keys from `key` on, a multiple of 4.
inline ${T4} factors(const ulong row, const ulong row_blocks, const index_t key, const ulong seed, const ulong call,
                     const ${T} keep) {
  ${T4} u;
% for part in range(2 if T == "double" else 1):
  {
    const ulong number = row * row_blocks + (ulong)key / ${2 if T == "double" else 4}${f" + {part}" if part else ""};
    uint w0 = (uint)number, w1 = (uint)(number >> 32), w2 = (uint)call, w3 = (uint)(call >> 32);
${random.rounds("uint")}\
% if T == "double":
    u.s${2 * part} = (double)((ulong)w1 << 21 ^ (ulong)w0 >> 11) * ${lit(2.0**-53)};
    u.s${2 * part + 1} = (double)((ulong)w3 << 21 ^ (ulong)w2 >> 11) * ${lit(2.0**-53)};
% else:
    u = convert_float4((uint4)(w0, w1, w2, w3) >> 8) * ${lit(2.0**-24)};
% endif
  }
% endfor
  return select((${T4})(0), (${T4})(1 / keep), u < (${T4})(keep));
}
% endif
## Elements [d0, d0 + DEPTH) of the rows from `first` on, transposed.
<%def name="fetch(name, into, first, limit, depth_)">\
      for (int l = item; l < ${tile * depth_}; l += ${group}) {
        const int d = l % ${depth_}, row = l / ${depth_};
        const bool there = d0 + d < ${D} && ${first} + row < ${limit};
        ${into}[d * ${pitch} + row] = there ? ${expr.load(storage, name, f"(matrix * {limit} + {first} + row) * {D} + d0 + d")} : (${T})0;
      }
</%def>\
## One step of a product: adds to the tile `into`.
<%def name="multiply(own, into)">\
% if resident:
      __local const ${T} *own_slab = ${own}_own + d0 * ${pitch};
% endif
      for (int q = 0; q < ${depth}; ++q) {
        const ${T4} a = vload4(0, own_slab + q * ${pitch} + item_i);
        const ${T4} b = vload4(0, other_slab + q * ${pitch} + item_j);
% for r in range(4):
        ${into}${r} = ${f"fma(({T4})(a.s{r}), b, {into}{r})" if fast_fma else f"a.s{r} * b + {into}{r}"};
% endfor
      }
</%def>\
## Scores become what softmax takes: scaled, masked, -infinity where there is no key.
<%def name="score()">\
% for r in range(4):
        s${r} *= scale;
% endfor
% for e in range(4):
        {
          const index_t other_at = other0 + item_j + ${e};
% for r in range(4):
          {
            const index_t own_at = own0 + item_i + ${r};
% if mask is not None:
            const index_t mask_at = mask_first + min(own_at, ${n_own} - 1) * mask_${n_own} + min(other_at, ${n_other} - 1) * mask_${n_other};
% if mask_adds:
            s${r}.s${e} += ${expr.load(mask, "mask", "mask_at")};
% else:
            s${r}.s${e} = mask[mask_at] ? s${r}.s${e} : -INFINITY;
% endif
% endif
            if (other_at >= ${n_other}${f" || {'other_at > own_at' if own_queries else 'own_at > other_at'}" if causal else ""}) s${r}.s${e} = -INFINITY;
          }
% endfor
        }
% endfor
</%def>\
## f0 to f3: factors of the tile's own rows.
<%def name="draw()">\
% if own_queries:
% for r in range(4):
        const ${T4} f${r} = factors(matrix * queries + own0 + item_i + ${r}, row_blocks, other0 + item_j, seed, call, keep);
% endfor
% else:
% for e in range(4):
        const ${T4} drawn${e} = factors(matrix * queries + other0 + item_j + ${e}, row_blocks, own0 + item_i, seed, call, keep);
% endfor
% for r in range(4):
        const ${T4} f${r} = (${T4})(${", ".join(f"drawn{e}.s{r}" for e in range(4))});
% endfor
% endif
</%def>\
<%def name="put_weights(tile_)">\
% for e in range(4):
        vstore4((${T4})(${", ".join(f"{tile_}{r}.s{e}" for r in range(4))}), 0, weights + (item_j + ${e}) * ${pitch} + item_i);
% endfor
</%def>\
## Forward: the largest score of each own row so far, from what the row's work-items found.
<%def name="soften()">\
        {
          ${T4} top = largest;
          for (int other_item = 0; other_item < ${across}; ++other_item) {
            const ${T4} found = vload4(0, shared + other_item * ${pitch} + item_i);
            top = select(top, found, found > top);
          }
          const ${T4} base = select(top, (${T4})(0), top == (${T4})(-INFINITY));
          const ${T4} alpha = exp(largest - base);
          largest = top;
          total *= alpha;
% for n in range(columns):
          y_${n} *= alpha;
% endfor
% if dropout:
${draw()}\
% endif
% for r in range(4):
          s${r} = exp(s${r} - (${T4})(base.s${r}));
          total.s${r} += s${r}.x + s${r}.y + s${r}.z + s${r}.w;
% if dropout:
          s${r} *= f${r};
% endif
% endfor
        }
</%def>\
<%def name="differentiate()">\
        {
% if dropout:
${draw()}\
% endif
% if not own_queries:
          ${T4} lse_, delta_;
% for e in range(4):
          {
            const index_t at = matrix * queries + min(other0 + item_j + ${e}, queries - 1);
            lse_.s${e} = lse[at];
            delta_.s${e} = delta[at];
          }
% endfor
% endif
% for r in range(4):
          {
% if own_queries:
            const ${T4} lse_ = (${T4})(lse[matrix * queries + min(own0 + item_i + ${r}, queries - 1)]);
            const ${T4} delta_ = (${T4})(own_delta[item_i + ${r}]);
% endif
            s${r} = exp(s${r} - lse_);
% if dropout:
            g${r} *= f${r};
% endif
            g${r} = s${r} * (g${r} - delta_) * scale;
% if dropout:
            s${r} *= f${r};
% endif
          }
% endfor
        }
</%def>\
__attribute__((reqd_work_group_size(${group}, 1, 1)))
__kernel void ${name}(
    ${signature})
{
  __local ${T} slab[${pool}] __attribute__((aligned(16)));
  __local ${T} weights[${tile * pitch}] __attribute__((aligned(16)));
% if resident:
% for own, _, _ in tiles:
  __local ${T} ${own}_own[${own_depth * pitch}] __attribute__((aligned(16)));
% endfor
  __local ${T} *other_slab = slab;
% else:
  __local ${T} *own_slab = slab, *other_slab = slab + ${depth * pitch};
% endif
% if forward:
  __local ${T} shared[${across * pitch}] __attribute__((aligned(16)));
% elif own_queries:
  __local ${T} own_delta[${tile}];
% endif
% for array in arrays:
  ${array} += ${array}_offset;
% endfor
  const int item = get_local_id(0);
  const int item_i = item / ${across} * 4, item_j = item % ${across} * 4, own_column = item % ${across};
  const index_t own0 = (index_t)get_group_id(0) * ${tile};
  const index_t matrix = get_global_id(1);
% if dropout:
  const ulong row_blocks = (ulong)(keys + 3) / 4 * ${2 if T == "double" else 1};
% endif
% if mask is not None:
  const index_t mask_first = matrix / heads * mask_batch + matrix % heads * mask_head;
% endif
% if resident:
  for (int d0 = 0; d0 < ${D}; d0 += ${depth}) {
% for own, _, _ in tiles:
${fetch(own, f"({own}_own + d0 * {pitch})", "own0", n_own, depth)}\
% endfor
  }
% endif
% if kind == "queries":
  if (item < ${tile}) {
    ${T} sum = 0;
    if (own0 + item < queries) {
      const index_t at = (matrix * queries + own0 + item) * ${D};
      for (int d = 0; d < ${D}; ++d) sum += ${expr.load(storage, "dy", "at + d")} * ${expr.load(storage, "y", "at + d")};
      delta[matrix * queries + own0 + item] = sum;
    }
    own_delta[item] = sum;
  }
% endif
% for _, result, _ in sums:
% for n in range(columns):
  ${T4} ${result}_${n} = (${T4})(0);
% endfor
% endfor
% for _, _, into in tiles:
% for r in range(4):
  ${T4} ${into}${r} = (${T4})(0);
% endfor
% endfor
% if forward:
  ${T4} largest = (${T4})(-INFINITY), total = (${T4})(0);
% endif
% if not causal:
  const index_t other_end = ${n_other};
  index_t other0 = 0;
% elif own_queries:
  const index_t other_end = min(keys, own0 + ${tile});
  index_t other0 = 0;
% else:
  const index_t other_end = queries;
  index_t other0 = own0;
% endif
  int step = 0;
  while (other0 < other_end) {
    barrier(CLK_LOCAL_MEM_FENCE);
% for t, (own, other, _) in enumerate(tiles):
    ${"else " if t else ""}if (step < ${slabs * (t + 1)}) {
      const int d0 = (step - ${slabs * t}) * ${depth};
% if not resident:
${fetch(own, "own_slab", "own0", n_own, depth)}\
% endif
${fetch(other, "other_slab", "other0", n_other, depth)}\
    }
% endfor
% for t, (other, _, weights_) in enumerate(sums):
<% begin = slabs * len(tiles) + sum_steps * t %>\
    else ${f"if (step < {begin + sum_steps})" if t < len(sums) - 1 else ""} {
      if (step == ${begin}) {
% if t == 0:
${soften() if forward else differentiate()}\
% endif
${put_weights(weights_)}\
      }
      const index_t first = other0 + (step - ${begin}) * ${sum_depth};
      for (int l = item; l < ${sum_depth * columns * across}; l += ${group}) {
        const int e = l % ${columns * across};
        const index_t row = first + l / ${columns * across};
        slab[l] = ${f"e < {D} && " if D % across else ""}row < ${n_other} ? ${expr.load(storage, other, f"(matrix * {n_other} + row) * {D} + e")} : (${T})0;
      }
    }
% endfor
    barrier(CLK_LOCAL_MEM_FENCE);
% for t, (own, _, into) in enumerate(tiles):
    ${"else " if t else ""}if (step < ${slabs * (t + 1)}) {
      const int d0 = (step - ${slabs * t}) * ${depth};
      if (d0 == 0) {
% for r in range(4):
        ${into}${r} = (${T4})(0);
% endfor
      }
${multiply(own, into)}\
% if t == len(tiles) - 1:
      if (step == ${slabs * len(tiles) - 1}) {
${score()}\
% if forward:
        ${T4} found = (${T4})(-INFINITY);
% for r in range(4):
% for e in range(4):
        found.s${r} = s${r}.s${e} > found.s${r} ? s${r}.s${e} : found.s${r};
% endfor
% endfor
        vstore4(found, 0, shared + own_column * ${pitch} + item_i);
% endif
      }
% endif
    }
% endfor
% for t, (_, result, _) in enumerate(sums):
<% begin = slabs * len(tiles) + sum_steps * t %>\
    else ${f"if (step < {begin + sum_steps})" if t < len(sums) - 1 else ""} {
      __local const ${T} *row_weights = weights + (step - ${begin}) * ${sum_depth * pitch} + item_i;
      for (int j = 0; j < ${sum_depth}; ++j) {
        const ${T4} a = vload4(0, row_weights + j * ${pitch});
% for n in range(columns):
<% b, acc = f"slab[j * {columns * across} + own_column + {n * across}]", f"{result}_{n}" %>\
        ${acc} = ${f"fma(a, ({T4})({b}), {acc})" if fast_fma else f"a * {b} + {acc}"};
% endfor
      }
    }
% endfor
    if (++step == ${steps}) {
      step = 0;
      other0 += ${tile};
    }
  }
% if forward:
  barrier(CLK_LOCAL_MEM_FENCE);
  vstore4(total, 0, shared + own_column * ${pitch} + item_i);
  barrier(CLK_LOCAL_MEM_FENCE);
  total = (${T4})(0);
  for (int other_item = 0; other_item < ${across}; ++other_item)
    total += vload4(0, shared + other_item * ${pitch} + item_i);
  const ${T4} inverse = select(1 / total, (${T4})(0), total == (${T4})(0));
  const ${T4} lse_ = select(largest + log(total), (${T4})(INFINITY), total == (${T4})(0));
% for n in range(columns):
  y_${n} *= inverse;
% endfor
% endif
% for r in range(4):
  if (own0 + item_i + ${r} < ${n_own}) {
    const index_t row = matrix * ${n_own} + own0 + item_i + ${r};
% if forward:
    if (own_column == 0) lse[row] = lse_.s${r};
% endif
% for _, result, _ in sums:
% for n in range(columns):
    ${f"if (own_column + {n * across} < {D})" if (n + 1) * across > D else ""} {
      ${expr.store(storage, f"{result}_{n}.s{r}", compute, result, f"row * {D} + own_column + {n * across}")}
    }
% endfor
% endfor
  }
% endfor
}
