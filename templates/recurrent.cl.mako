## All steps of a recurrent layer, and their gradients, on CPUs. KERNEL is one of
##
##     pack      the recurrent weights in panels, as the others read them
##     forward   h[t] and what else a cell makes of x[t] and p[t] = h[t-1] W^T + bias, step after step
##     backward  from the last step to the first: the gradients of p, and by dh[t-1] = dp[t] W those before
##
## The rows of a batch do not see each other. So a work-item takes rows of its own through all the steps, and
##   there is nothing to wait for: neither a launch for each step nor other work-items. (G. Diamos et al.,
##   Persistent RNNs, ICML 2016, keep the weights in registers and share the rows; on a CPU the weights stay
##   in its cache.)
## Method: the micro-kernel of matmul_cpu.cl.mako. A tile of up to `heights[0]` rows of h times a panel of the
##   weights gives the same columns of each gate (forward), or columns of dh (backward); from there the cell's
##   formulas go on, with all that they need of the tile in cache.
## Layout: x, gates, dx, dp (steps, batch, parts * size); hs, cs (steps, batch, size); state, cell (batch,
##   size); weight (gates * size, size); packed [panel][k][vector][lane]: of a forward panel each vector is
##   a gate.
## Range: (slices of the batch), work-groups of one; pack: (panels, blocks of k).
## Edges: the last panel begins where it is whole, so some columns are made twice, alike. What a step reads is
##   never what it writes: `kept` and `carry`, which backward steps hand on, lie there twice.
## Tunables (clgrad/kernels/recurrent.py): lanes, vectors, heights.
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
<%
V, TV = lanes, k.TV
width = V * k.vectors
load = lambda pointer, at, lanes=V: expr.load(k.dtype, pointer, at, lanes)
store = lambda value, pointer, at: expr.store(k.dtype, value, k.dtype, pointer, at, V)
%>\
${common.prologue(k.signature, k.helpers)}
% if kernel == "pack":
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${k.signature})
{
  weight += weight_offset;
  const index_t panel = get_group_id(0);
  const index_t j = min(panel * ${k.step}, size - ${k.step});
  packed += packed_offset + panel * depth * ${width};
  const index_t first = get_group_id(1) * ${k.block};
  const index_t end = min(depth, first + ${k.block});
% if k.across:
  index_t q = first;
  for (; q + ${V} <= end; q += ${V}) {
    for (int v = 0; v < ${k.vectors}; ++v) {
      ${operands.transposed(lambda i: load("weight", f"(v * size + j + {i}) * depth + q"), lambda i, value: store(value, "packed", f"((q + {i}) * {k.vectors} + v) * {V}"))}
    }
  }
  for (; q < end; ++q)
    for (int v = 0; v < ${k.vectors}; ++v)
      for (int i = 0; i < ${V}; ++i)
        packed[(q * ${k.vectors} + v) * ${V} + i] = weight[(v * size + j + i) * depth + q];
% else:
  for (index_t q = first; q < end; ++q) {
% for v in range(k.vectors):
    ${store(load("weight", f"q * size + j + {v * V}"), "packed", f"(q * {k.vectors} + {v}) * {V}")}
% endfor
  }
% endif
}
% else:
## `rows` rows from i0 on, times the panel w: into sums[row * vectors + vector].
<%def name="tile(rows, a, depth)">\
        {
% for i in range(rows):
          __global const ${T} *const a${i} = ${a} + (i0 + ${i}) * ${depth};
% for v in range(k.vectors):
          ${TV} s${i}_${v} = (${TV})(0);
% endfor
% endfor
          for (index_t q = 0; q < ${depth}; ++q) {
% for v in range(k.vectors):
            const ${TV} b${v} = ${load("w", f"(q * {k.vectors} + {v}) * {V}")};
% endfor
% for i in range(rows):
            {
              const ${T} x = a${i}[q];
% for v in range(k.vectors):
              s${i}_${v} = x * b${v} + s${i}_${v};
% endfor
            }
% endfor
          }
% for i in range(rows):
% for v in range(k.vectors):
          sums[${i * k.vectors + v}] = s${i}_${v};
% endfor
% endfor
        }
</%def>
## For each panel and each tile: the sums, and then `what` of each row's.
<%def name="products(a, depth, what)">\
    for (index_t panel = 0; panel < panels; ++panel) {
      const index_t j0 = min(panel * ${k.step}, size - ${k.step});
      __global const ${T} *const w = packed + panel * ${depth} * ${width};
      for (index_t number = 0; number < tiles; ++number) {
        const index_t i0 = first + count * number / tiles;
        const int rows = first + count * (number + 1) / tiles - i0;
% for rows in k.heights:
        ${"if" if loop.first else "else if"} (rows == ${rows})
${tile(rows, a, depth)}\
% endfor
        for (int r = 0; r < rows; ++r) {
          const index_t i = i0 + r, row = t * batch + i;
          ${what()}
        }
      }
    }
</%def>
## The cell's formulas, for the vectors of columns that the sums are of.
<%def name="cell()">\
% if k.across:
          const index_t j = j0;
${"\n".join(k.statements)}
% else:
          for (int v = 0; v < ${k.vectors}; ++v) {
            const index_t j = j0 + v * ${V};
${"\n".join(k.statements)}
          }
% endif
</%def>
## The gradients of the states to begin with.
<%def name="start()">\
          for (int v = 0; v < ${k.vectors}; ++v) {
            const index_t j = j0 + v * ${V};
            ${store(f"sums[r * {k.vectors} + v]" + (f" + {load('kept_before', 'i * size + j')}" if k.kept else ""), "dh", "i * size + j")}
% if k.carry:
            ${store(load("carry_before", "i * size + j"), "dc", "i * size + j")}
% endif
          }
</%def>
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${k.signature})
{
% for pointer in k.pointers:
  ${pointer} += ${pointer}_offset;
% endfor
  const index_t first = batch * get_group_id(0) / slices;
  const index_t count = batch * (get_group_id(0) + 1) / slices - first;
  ${TV} sums[${k.heights[0] * k.vectors}];
% if kernel == "forward":
  for (index_t n = 0; n < steps; ++n) {
    const index_t t = ${"steps - 1 - n" if k.reverse else "n"};
    const index_t before = (t ${"+" if k.reverse else "-"} 1) * batch * size;
    __global const ${T} *const h_before = n ? hs + before : state;
% if k.has_cell:
    __global const ${T} *const c_before = n ? cs + before : cell;
% endif
${products("h_before", "size", cell)}\
  }
% else:
  for (int i = 0; i < ${k.heights[0] * k.vectors}; ++i) sums[i] = (${TV})(0);
% for handed in k.handed:
  for (index_t at = first * size; at < (first + count) * size; ++at) ${handed}[at] = 0;
% endfor
  for (index_t n = 0; n <= steps; ++n) {
    const index_t t = ${"n" if k.reverse else "steps - 1 - n"};
% for handed in k.handed:
    __global const ${T} *const ${handed}_before = ${handed} + (n % 2) * batch * size;
    __global ${T} *const ${handed}_after = ${handed} + (1 - n % 2) * batch * size;
% endfor
    if (n == steps) {
      __global const ${T} *const last = ${k.head} + (t ${"-" if k.reverse else "+"} 1) * batch * depth;
${products("last", "depth", start)}\
      break;
    }
    const index_t before = (t ${"+" if k.reverse else "-"} 1) * batch * size;
    __global const ${T} *const h_before = n + 1 < steps ? hs + before : state;
% if k.has_cell:
    __global const ${T} *const c_before = n + 1 < steps ? cs + before : cell;
% endif
    if (n == 0) {  // nothing has come through the gates of a later step
      for (index_t i = first; i < first + count; ++i) {
        const index_t row = t * batch + i;
        const int r = 0;
        for (index_t panel = 0; panel < panels; ++panel) {
          const index_t j0 = min(panel * ${k.step}, size - ${k.step});
${cell()}\
        }
      }
    } else {
      __global const ${T} *const last = ${k.head} + (t ${"-" if k.reverse else "+"} 1) * batch * depth;
${products("last", "depth", cell)}\
    }
  }
% endif
}
% endif
