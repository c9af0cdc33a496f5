## Matrix product, CPU shape: C[batch, i, j] = sum_k A[batch, i, k] * B[batch, k, j] (+ bias).
##
## Method: the register-blocked micro-kernel of GotoBLAS and BLIS (K. Goto, R. van de Geijn: Anatomy of
##   High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008; F. Van Zee, R. van de Geijn: BLIS: A
##   Framework for Rapidly Instantiating BLAS Functionality, ACM TOMS 41(3), 2015). A tile of C, `rows` by
##   `vectors` vectors, stays in registers while k runs.
## Work: a work-item computes `chunk` rows of one panel of columns, for `span` products. It packs `depth` rows of that panel of
##   B at a time into local memory (on CPUs: cache), where im2col and transposition happen, and multiplies
##   all its rows of A by them. Range: (panels, row chunks, batch / span, or batch * splits); work-groups of
##   one item.
## A: in place with any strides, or packed by matmul_pack.cl.mako (packed_a).
## B: always packed, or in place where its rows are contiguous (direct_b); a partial panel is packed.
## C: several blocks of k add up in local memory (`blocked`). With splits > 1, each range of k makes a C
##   of its own; matmul_sum.cl.mako adds them.
## Arithmetic: a * b + c, which compilers contract to one instruction; fma() is a library call on some CPUs.
## Edges: columns beyond n are computed and not stored; rows beyond m repeat the last row.
## Tunables (clgrad/kernels/matmul_cpu.py): rows, vectors, depth, chunk, splits, packed_a, direct_b.
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
<%
    V = lanes
    width = vectors * V
    window = b.kind == "window"
%>\
${common.prologue(signature, helpers)}
## One tile: rows [i0, i0 + rows) of C times the panel. `space` says where B lies: "panel" or "global".
<%def name="tile(space)">\
      {
% if packed_a:
        __global const ${T} *restrict ap = a + (i0 / ${rows} * k + k0) * ${rows};
% else:
% for i in range(rows):
        const index_t a_row${i} = k0 * a_column_stride0 + ${a.row.offset("a_row", f"min(i0 + {i}, m - 1)" if i else "i0")};
% endfor
% endif
% for i in range(rows):
% for v in range(vectors):
        ${T}${V} c${i}_${v} = ${f"first ? ({T}{V})(0) : sums[(i0 - i_begin + {i}) * {vectors} + {v}]" if blocked else f"({T}{V})(0)"};
% endfor
% endfor
        for (int q = 0; q < kc; ++q) {
% for v in range(vectors):
% if space == "panel":
          const ${T}${V} b${v} = vload${V}(q * ${vectors} + ${v}, panel);
% else:
          const ${T}${V} b${v} = ${expr.load(storage, "b", f"(k0 + q) * b_row_stride0 + j0 + {v * V}", V)};
% endif
% endfor
% for i in range(rows):
          {
% if packed_a:
            const ${T} x = ap[q * ${rows} + ${i}];
% else:
            const ${T} x = ${expr.load(storage, "a", f"a_row{i} + q * a_column_stride0")};
% endif
% for v in range(vectors):
            c${i}_${v} = x * b${v} + c${i}_${v};
% endfor
          }
% endfor
        }
% if blocked:
        if (!last) {
% for i in range(rows):
% for v in range(vectors):
          sums[(i0 - i_begin + ${i}) * ${vectors} + ${v}] = c${i}_${v};
% endfor
% endfor
          continue;
        }
% endif
        if (whole) {
% for i in range(rows):
          if (${"1" if i == 0 else f"i0 + {i} < m"}) {
            const index_t at = c_column0 + ${c.row.offset("c_row", f"(i0 + {i})")};
% for v in range(vectors):
${operands.store_result(f"c{i}_{v}", f"i0 + {i}", f"j0 + {v * V}", f"at + {v * V}", V)}\
% endfor
          }
% endfor
        } else {
% for i in range(rows):
% for v in range(vectors):
          edge_vectors[${i * vectors + v}] = c${i}_${v};
% endfor
% endfor
          ${store_edge()}
        }
      }
</%def>
## A tile that is cut off, or whose columns do not lie side by side in C.
<%def name="store_edge()">\
          for (index_t i = i0; i < min(i0 + ${rows}, m); ++i) {
            const index_t at = ${c.row.offset("c_row", "i")};
            ${operands.axis_begin(c.column, "c_column", "j0")}
            for (int j = 0; j < columns; ++j) {
              ${T} value = edge[(i - i0) * ${width} + j];
${operands.store_result("value", "i", "j0 + j", "at + c_column_at")}\
              ${operands.axis_advance(c.column, "c_column")}
            }
          }
</%def>
## Rows [k0, k0 + kc) of the panel, row after row, each ${width} columns.
<%def name="pack()">\
% if window and not b.transposed:
      ${operands.tap_begin("k0")}
      for (int q = 0; q < kc; ++q) {
% for v in range(vectors):
        ${operands.load_positions(v, vectors, operands.tap_offset(), lambda d: f"b_t{d}", "__local", f"panel + q * {width} + {v * V}")}
% endfor
        ${operands.tap_advance()}
      }
% elif window:
      for (int q = 0; q < kc; q += ${V}) {
        ${operands.locate_positions("k0 + q", V, "kc - q")}
        for (int j = 0; j < ${width}; ++j) {
          ${operands.load_positions(0, 1, "tap_offset[j]", lambda d: f"tap{d}[j]", "", f"block + j * {V}")}
        }
        for (int v = 0; v < ${vectors}; ++v) {
          ${operands.transpose_block(lambda i: f"block_vectors[v * {V} + {i}]", f"panel + q * {width} + v * {V}", width)}
        }
      }
% elif b.unit == "column":
      if (columns == ${width}) {
        for (int q = 0; q < kc; ++q) {
% for v in range(vectors):
          vstore${V}(${expr.load(storage, "b", f"(k0 + q) * b_row_stride0 + j0 + {v * V}", V)}, q * ${vectors} + ${v}, panel);
% endfor
        }
      } else {
        for (int q = 0; q < kc; ++q)
          for (int j = 0; j < ${width}; ++j)
            panel[q * ${width} + j] = ${expr.load(storage, "b", "(k0 + q) * b_row_stride0 + min(j0 + j, n - 1)")};
      }
% elif b.unit == "row":
      int q = 0;
      for (int v = 0; v < ${vectors}; ++v) {  // few rows of memory at a time, which prefetchers follow
        for (q = 0; q + ${V} <= kc; q += ${V}) {
          ${operands.transpose_block(lambda i: expr.load(storage, "b", f"k0 + q + min(j0 + v * {V} + {i}, n - 1) * b_column_stride0", V), f"panel + q * {width} + v * {V}", width)}
        }
      }
      for (; q < kc; ++q)
        for (int j = 0; j < ${width}; ++j)
          panel[q * ${width} + j] = ${expr.load(storage, "b", "k0 + q + min(j0 + j, n - 1) * b_column_stride0")};
% else:
      for (int q = 0; q < kc; ++q) {
        const index_t b_row_at = ${b.row.offset("b_row", "(k0 + q)")};
        ${operands.axis_begin(b.column, "b_column", "j0")}
        for (int j = 0; j < ${width}; ++j) {
          panel[q * ${width} + j] = ${expr.load(storage, "b", "b_row_at + b_column_at")};
          if (j + 1 < columns) {
            ${operands.axis_advance(b.column, "b_column")}
          }
        }
      }
% endif
</%def>
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${signature})
{
  // Declared as vectors, and so aligned like them.
  __local ${T} panel[${depth * vectors * V}] __attribute__((aligned(${V * (8 if T == 'double' else 4)})));
% if blocked:
  __local ${T}${V} sums[${most_rows * vectors}];
% endif
  ${T}${V} edge_vectors[${rows * vectors}];
  const ${T} *const edge = (const ${T} *)edge_vectors;
  const index_t j0 = get_group_id(0) * ${width};
  const int columns = min((index_t)${width}, n - j0);
  const index_t i_begin = get_group_id(1) * chunk;
  const index_t i_end = min(m, i_begin + chunk);
  const index_t first_batch = get_group_id(2)${" / splits" if split else " * span"};
  const index_t last_batch = ${"first_batch + 1" if split else "min(batches, first_batch + span)"};
% if split:
  const index_t split = get_group_id(2) % splits;
  const index_t k_begin = split * split_depth;
  const index_t k_end = min(k, k_begin + split_depth);
% else:
  const index_t k_begin = 0;
  const index_t k_end = k;
% endif
  a += a_offset + ${"first_batch * a_matrix" if packed_a else "a_base + " + a.batch.offset("a_batch", "first_batch")};
% if bias:
  bias += bias_offset + first_batch * bias_batch;
% endif
${operands.result_begin()}\
  c += c_offset + c_base + ${c.batch.offset("c_batch", "get_group_id(2)" if split else "first_batch")};
  // Whether the panel's columns lie side by side in C.
  const bool whole = ${"0" if not c.column.unit else f"columns == {width}" + (f" && j0 % c_column_extent0 + {width} <= c_column_extent0" if len(c.column.digits) > 1 else "")};
  const index_t c_column0 = ${c.column.offset("c_column", "j0")};
% if window:
  __global const ${expr.dtypes.describe(storage).storage} *b_image0 = b + b_offset + first_batch * b_batch_stride;
  index_t b_low = -first_batch * b_batch_stride;
  index_t b_high = b_low + b_total;
  ${operands.position_tables(V if b.transposed else width)}
% if b.transposed:
  ${T}${V} block_vectors[${width}];
  ${T} *const block = (${T} *)block_vectors;
  index_t tap_offset[${width}];
% for d in b.bounded:
  int tap${d}[${width}];
% endfor
  {
    ${operands.tap_begin("j0")}
    for (int j = 0; j < ${width}; ++j) {
      tap_offset[j] = ${operands.tap_offset()};
% for d in b.bounded:
      tap${d}[j] = b_t${d};
% endfor
      if (j + 1 < columns) {
        ${operands.tap_advance()}
      }
    }
  }
% else:
  ${operands.locate_positions("j0", width, "columns")}
% endif
% else:
  b += b_offset + b_base + ${b.batch.offset("b_batch", "first_batch")};
% endif
  // What was found out about positions and taps holds for all products of the batch.
  for (index_t batch = first_batch; batch < last_batch; ++batch) {
  index_t k0 = k_begin;
  do {  // once for an empty range too: it makes zeros
    const int kc = min((index_t)${depth}, k_end - k0);
% if blocked:
    const bool first = k0 == k_begin, last = k0 + kc >= k_end;
% endif
% if direct_b:
    if (columns == ${width}) {
      for (index_t i0 = i_begin; i0 < i_end; i0 += ${rows})
${tile("global")}
    } else
% endif
    {
${pack()}
      for (index_t i0 = i_begin; i0 < i_end; i0 += ${rows})
${tile("panel")}
    }
    k0 += kc;
  } while (k0 < k_end);
% if not split:
  a += ${"a_matrix" if packed_a else "a_batch_stride0"};
% if window:
  b_image0 += b_batch_stride;
  b_low -= b_batch_stride;
  b_high -= b_batch_stride;
% else:
  b += b_batch_stride0;
% endif
  c += c_batch_stride0;
% if bias:
  bias += bias_batch;
% endif
% endif
  }
}
