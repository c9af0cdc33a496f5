## Matrix product, GPU shape: C[batch, i, j] = sum_k A[batch, i, k] * B[batch, k, j] (+ bias).
##
## Method: a work-group computes a tile_m x tile_n tile of C from slabs of A and B, `depth` deep, in local
##   memory; each work-item keeps item_m x item_n elements in registers. While one slab is multiplied the
##   next is on its way from global memory to registers, and goes to the other half of local memory: one
##   barrier a slab. (V. Volkov, J. Demmel: Benchmarking GPUs to Tune Dense Linear Algebra, SC 2008; R. Nath,
##   S. Tomov, J. Dongarra: An Improved MAGMA GEMM for Fermi GPUs, 2010.)
## Loads: neighbouring work-items read along the index that is contiguous in memory: k for a transposed B
##   and an ordinary A, else the tile's own index. im2col happens here. What lies outside is 0.
## Layout in local memory: [k][i] and [k][j], rows padded by 4 against bank conflicts.
## Range: (tiles of n * group, tiles of m, batch * splits); work-groups are full, nobody leaves before a
##   barrier. With splits > 1 each range of k makes a C of its own, which matmul_sum.cl.mako adds.
## Tunables (clgrad/kernels/matmul_gpu.py): tile_m, tile_n, depth, item_m, item_n.
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
<%
    group = (tile_m // item_m) * (tile_n // item_n)
    across = tile_n // item_n
    window = b.kind == "window"
    # Whether neighbouring work-items take neighbouring k.
    a_along_k = a.unit != "row"
    b_along_k = b.transposed if window else b.unit == "row"
    count = {"a": tile_m * depth // group, "b": tile_n * depth // group}
%>\
${common.prologue(signature, helpers)}
## Which (index, k) of a slab the `l`-th load of this work-item is.
<%def name="own(along_k, extent, l)" buffered="True" filter="trim">
${f"(item / {depth} + {l} * {group // depth})" if along_k else f"(item % {extent})"}
</%def>
<%def name="own_k(along_k, extent, l)" buffered="True" filter="trim">
${f"(item % {depth})" if along_k else f"(item / {extent} + {l} * {group // extent})"}
</%def>
## Offsets along the tile's own index, which stay the same for all slabs.
<%def name="prepare(p, axis, along_k, extent, first, limit)">\
<% loads = count[p] if along_k else 1 %>\
  index_t ${p}_own[${loads}];
  bool ${p}_inside[${loads}];
% for l in range(loads):
  {
    const index_t own = ${first} + ${own(along_k, extent, l)};
    ${p}_inside[${l}] = own < ${limit};
    ${p}_own[${l}] = ${axis.offset(f"{p}_{'row' if p == 'a' else 'column'}", f"min(own, {limit} - 1)")};
  }
% endfor
</%def>
<%def name="fetch_strided(p, axis, along_k, extent)">\
% for l in range(count[p]):
% if not along_k or l == 0:
    {
      const index_t q = k0 + ${own_k(along_k, extent, l)};
      const bool inside = q < k_end;
      const index_t along = inside ? ${axis.offset(f"{p}_{'column' if p == 'a' else 'row'}", "q")} : 0;
% endif
      next_${p}[${l}] = inside && ${p}_inside[${l if along_k else 0}] ? ${expr.load(storage, p, f"{p}_own[{l if along_k else 0}] + along")} : (${T})0;
% if not along_k or l == count[p] - 1:
    }
% endif
% endfor
</%def>
## Window operands: `at` are coordinates of the position's first tap, `shift` what the tap adds to them.
<%def name="prepare_window()">\
% if b.transposed:
  index_t b_own[${count["b"]}];
  bool b_inside[${count["b"]}];
% for d in b.bounded:
  int b_shift${d}[${count["b"]}];
% endfor
% for l in range(count["b"]):
  {
    const index_t own = j0 + ${own(True, tile_n, l)};
    ${operands.tap_begin("own")}
    b_inside[${l}] = own < n;
    b_own[${l}] = ${operands.tap_offset()};
% for d in b.bounded:
    b_shift${d}[${l}] = b_t${d} * (${b.step[d]});
% endfor
  }
% endfor
% else:
  const bool b_inside = j0 + ${own(False, tile_n, 0)} < n;
  ${operands.position_begin(f"(j0 + {own(False, tile_n, 0)})")}
  const index_t b_own = ${operands.position_offset()};
% for d in b.bounded:
  const int b_at${d} = b_o${d} * ${b.scale[d]} + (${b.origin[d]});
% endfor
% endif
</%def>
<%def name="fetch_window()">\
% if b.transposed:
    {
      const index_t q = k0 + ${own_k(True, tile_n, 0)};
      ${operands.position_begin("q")}
      const index_t along = ${operands.position_offset()};
% for l in range(count["b"]):
      next_b[${l}] = q < k_end && b_inside[${l}]${"".join(f" && (uint)(b_o{d} * {b.scale[d]} + ({b.origin[d]}) + b_shift{d}[{l}]) < (uint)b_size{d}" for d in b.bounded)} ? ${expr.load(storage, "b", f"b_own[{l}] + along")} : (${T})0;
% endfor
    }
% else:
% for l in range(count["b"]):
    {
      const index_t q = k0 + ${own_k(False, tile_n, l)};
      ${operands.tap_begin("q")}
      const index_t along = ${operands.tap_offset()};
      next_b[${l}] = q < k_end && b_inside${"".join(f" && (uint)(b_at{d} + b_t{d} * ({b.step[d]})) < (uint)b_size{d}" for d in b.bounded)} ? ${expr.load(storage, "b", "b_own + along")} : (${T})0;
    }
% endfor
% endif
</%def>
<%def name="fetch()">\
    ${fetch_strided("a", a.column, a_along_k, tile_m)}
% if window:
    ${fetch_window()}
% else:
    ${fetch_strided("b", b.row, b_along_k, tile_n)}
% endif
</%def>
<%def name="put(half)">\
% for p, along_k, extent in (("a", a_along_k, tile_m), ("b", b_along_k, tile_n)):
% for l in range(count[p]):
    slab_${p}[${half}][${own_k(along_k, extent, l)}][${own(along_k, extent, l)}] = next_${p}[${l}];
% endfor
% endfor
</%def>
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void ${name}(
    ${signature})
{
  __local ${T} slab_a[2][${depth}][${tile_m + 4}] __attribute__((aligned(16)));
  __local ${T} slab_b[2][${depth}][${tile_n + 4}] __attribute__((aligned(16)));
  const int item = get_local_id(0);
  const int item_i = item / ${across} * 4, item_j = item % ${across} * 4;
  const index_t i0 = get_group_id(1) * ${tile_m};
  const index_t j0 = get_group_id(0) * ${tile_n};
  const index_t batch = get_group_id(2)${" / splits" if split else ""};
% if split:
  const index_t k_begin = get_group_id(2) % splits * split_depth;
  const index_t k_end = min(k, k_begin + split_depth);
% else:
  const index_t k_begin = 0;
  const index_t k_end = k;
% endif
  a += a_offset + a_base + ${a.batch.offset("a_batch", "batch")};
  b += b_offset + ${"batch * b_batch_stride" if window else "b_base + " + b.batch.offset("b_batch", "batch")};
${operands.result_begin()}\
  c += c_offset + c_base + ${c.batch.offset("c_batch", "get_group_id(2)" if split else "batch")};
% if bias:
  bias += bias_offset + batch * bias_batch;
% endif
  ${prepare("a", a.row, a_along_k, tile_m, "i0", "m")}
% if window:
  ${prepare_window()}
% else:
  ${prepare("b", b.column, b_along_k, tile_n, "j0", "n")}
% endif
  ${T} next_a[${count["a"]}], next_b[${count["b"]}];
% for i in range(item_m):
% for v in range(item_n // 4):
  ${T}4 c${i}_${v} = (${T}4)(0);
% endfor
% endfor
  index_t k0 = k_begin;
  int half_in_use = 0;
  ${fetch()}
  ${put("0")}
  barrier(CLK_LOCAL_MEM_FENCE);
  for (; k0 < k_end; half_in_use ^= 1) {
    k0 += ${depth};
    ${fetch()}
#pragma unroll
    for (int q = 0; q < ${depth}; ++q) {
% for u in range(item_m // 4):
      const ${T}4 a${u} = vload4(0, &slab_a[half_in_use][q][${u * tile_m // (item_m // 4)} + item_i]);
% endfor
% for v in range(item_n // 4):
      const ${T}4 b${v} = vload4(0, &slab_b[half_in_use][q][${v * tile_n // (item_n // 4)} + item_j]);
% endfor
% for i in range(item_m):
% for v in range(item_n // 4):
<% x, acc = f"a{i // 4}.s{i % 4}", f"c{i}_{v}" %>\
      ${acc} = ${f"fma(({T}4)({x}), b{v}, {acc})" if fast_fma else f"{x} * b{v} + {acc}"};
% endfor
% endfor
    }
    ${put("half_in_use ^ 1")}
    barrier(CLK_LOCAL_MEM_FENCE);
  }
% for v in range(item_n // 4):
% for e in range(4):
  {
    const index_t j = j0 + ${v * tile_n // (item_n // 4) + e} + item_j;
    if (j < n) {
      const index_t c_column_at = ${c.column.offset("c_column", "j")};
% for i in range(item_m):
      {
        const index_t i = i0 + ${(i // 4) * tile_m // (item_m // 4) + i % 4} + item_i;
        if (i < m) {
          const index_t at = c_column_at + ${c.row.offset("c_row", "i")};
          ${T} value = c${i}_${v}.s${e};
${operands.store_result("value", "i", "j", "at")}\
        }
      }
% endfor
    }
  }
% endfor
% endfor
}
