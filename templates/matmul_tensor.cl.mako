## Matrix product on tensor cores: C[batch, i, j] = sum_k A[batch, i, k] * B[batch, k, j] (+ bias).
##
## Operands are float16, bfloat16, or float32 rounded to tf32 (a sign, 8 bits of exponent, 10 of mantissa);
##   sums are float32.
## Method: a work-group computes a tile_m x tile_n tile of C, each warp a warp_m x warp_n part of it, by mma on
##   fragments of 16 x 32 bytes (A) and 32 bytes x 8 (B). Slabs of A and B, `depth` deep, go through a ring of
##   `stages` in local memory: while one is multiplied, the others are on their way. One barrier a slab.
##   (NVIDIA: PTX ISA, sections on mma, ldmatrix and cp.async; A. Kerr et al.: CUTLASS, 2017, for the division
##   of labour.)
## Loads, in chunks of 16 bytes along the index that is contiguous in memory. `direct` operands, whose rows
##   are aligned, are copied by cp.async past the registers; the array's offset decides at run time, since the
##   plan does not know it. Others, and all windows (im2col happens here), are gathered element by element into
##   registers before a slab is multiplied, and put down behind it. What lies outside is not read, and is 0.
## Layout in local memory: rows of chunks; a row is one i or j and runs along k, or the other way round. Chunks
##   change places within their row (Slab.place of clgrad/kernels/matmul_tensor.py), so that the 8 rows that a
##   phase of ldmatrix reads lie in different banks. Fragments of rows that do not run along k are turned by
##   ldmatrix, or read word by word where elements have 4 bytes.
## Range: as in matmul_gpu.cl.mako, whose partial products and their sum (matmul_sum.cl.mako) this shares.
## Tunables: MatmulTensor of clgrad/kernels/parameters.py.
## `instructions` is tensor_ptx.mako, or in tests tensor_standin.mako.
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
<%namespace name="tensor" file="${context['instructions']}"/>\
<%
    E = 16 // itemsize  # elements of a chunk
    word = "uint" if itemsize == 4 else "ushort"
    across = tile_n // warp_n  # warps across a tile
    depth = depth_bytes // itemsize
    window = b.kind == "window"
    A, B = slab_a, slab_b
    pairs = c.column.plain and c.column.unit and not any(step % 2 for step in c.steps("column"))
%>\
${common.prologue(signature, helpers)}
${tensor.functions()}
## Which row and which chunk of it the `l`-th load of this work-item is.
<%def name="own_row(s, l)" buffered="True" filter="trim">
(item / ${s.columns} + ${l * group // s.columns})
</%def>
<%def name="own_column(s)" buffered="True" filter="trim">
(item % ${s.columns})
</%def>
## What stays the same for all slabs: of rows along k the offset of each row; else those of a chunk's elements.
<%def name="prepare_strided(p, s, axis, first, limit)">\
<% count = s.loads if s.along_k else E %>\
  index_t ${p}_own[${count}];
  bool ${p}_inside[${count}];
% for l in range(count):
  {
    const index_t own = ${first} + ${own_row(s, l) if s.along_k else f"{own_column(s)} * {E} + {l}"};
    ${p}_inside[${l}] = own < ${limit};
    ${p}_own[${l}] = ${axis.offset(f"{p}_{'row' if p == 'a' else 'column'}", f"min(own, {limit} - 1)")};
  }
% endfor
</%def>
<%def name="prepare_window()">\
<% count = B.loads if B.along_k else E %>\
  index_t b_own[${count}];
  bool b_inside[${count}];
% for d in b.bounded:
  int b_place${d}[${count}];
% endfor
% for l in range(count):
  {
    const index_t own = j0 + ${own_row(B, l) if B.along_k else f"{own_column(B)} * {E} + {l}"};
    b_inside[${l}] = own < n;
% if B.along_k:
    ${operands.tap_begin("own")}
    b_own[${l}] = ${operands.tap_offset()};
% for d in b.bounded:
    b_place${d}[${l}] = b_t${d} * (${b.step[d]});
% endfor
% else:
    ${operands.position_begin("own")}
    b_own[${l}] = ${operands.position_offset()};
% for d in b.bounded:
    b_place${d}[${l}] = b_o${d} * ${b.scale[d]} + (${b.origin[d]});
% endfor
% endif
  }
% endfor
</%def>
## A chunk of the elements that `value(e)` spells.
<%def name="chunk(target, value)">\
% if itemsize == 4:
    ${target} = (uint4)(${", ".join(value(e) for e in range(4))});
% else:
    ${target} = (uint4)(${", ".join(f"(uint)({value(e)}) | (uint)({value(e + 1)}) << 16" for e in range(0, 8, 2))});
% endif
</%def>
<%def name="gather_strided(p, s, axis)">\
<% prefix = f"{p}_{'column' if p == 'a' else 'row'}" %>\
    {
% if s.along_k:
      const index_t q = k0 + ${own_column(s)} * ${E};
      index_t along[${E}];
      ${operands.axis_begin(axis, prefix, "q")}
% for e in range(E):
      along[${e}] = q + ${e} < k_end ? ${prefix}_at : 0;
% if e < E - 1:
      ${operands.axis_advance(axis, prefix)}
% endif
% endfor
% for l in range(s.loads):
      ${chunk(f"next_{p}[{l}]", lambda e: f"q + {e} < k_end && {p}_inside[{l}] ? {p}_bits[{p}_own[{l}] + along[{e}]] : ({word})0")}
% endfor
% else:
% for l in range(s.loads):
      {
        const index_t q = k0 + ${own_row(s, l)};
        const bool inside = q < k_end;
        const index_t along = inside ? ${axis.offset(prefix, "q")} : 0;
        ${chunk(f"next_{p}[{l}]", lambda e: f"inside && {p}_inside[{e}] ? {p}_bits[{p}_own[{e}] + along] : ({word})0")}
      }
% endfor
% endif
    }
</%def>
<%def name="gather_window()">\
<%
    def sees(d, l):
        place = f"b_o{d} * {b.scale[d]} + ({b.origin[d]})" if B.along_k else f"b_t{d} * ({b.step[d]})"
        return f" && (uint)({place} + b_place{d}[{l}]) < (uint)b_size{d}"
%>\
% if B.along_k:
    {
      const index_t q = k0 + ${own_column(B)} * ${E};
      ${word} found[${B.loads * E}];
      ${operands.position_begin("q")}
% for e in range(E):
      {
        const index_t along = ${operands.position_offset()};
% for l in range(B.loads):
        found[${l * E + e}] = q + ${e} < k_end && b_inside[${l}]${"".join(sees(d, l) for d in b.bounded)} ? b_bits[b_own[${l}] + along] : (${word})0;
% endfor
      }
% if e < E - 1:
      ${operands.position_advance()}
% endif
% endfor
% for l in range(B.loads):
      ${chunk(f"next_b[{l}]", lambda e: f"found[{l * E + e}]")}
% endfor
    }
% else:
% for l in range(B.loads):
    {
      const index_t q = k0 + ${own_row(B, l)};
      ${operands.tap_begin("q")}
      const index_t along = ${operands.tap_offset()};
      ${chunk(f"next_b[{l}]", lambda e: f"q < k_end && b_inside[{e}]{''.join(sees(d, e) for d in b.bounded)} ? b_bits[b_own[{e}] + along] : ({word})0")}
    }
% endfor
% endif
</%def>
## Copies of whole chunks, or of pieces as wide as the rows are aligned: all of a piece is inside, or nothing.
<%def name="copies_of(p, s, axis, slot, first, limit)">\
<%
    own_axis, names = (a.row, ("a_column", "a_row")) if p == "a" else (b.column, ("b_row", "b_column"))
    width = s.direct
%>\
    {
% if s.along_k:
      const index_t q = k0 + ${own_column(s)} * ${E};
      const index_t along = ${axis.offset(names[0], "q")};
% else:
      const index_t own = ${first} + ${own_column(s)} * ${E};
      const index_t along = ${own_axis.offset(names[1], "own")};
% endif
% for l in range(s.loads):
      {
% if s.along_k:
        const index_t from = ${p}_own[${l}] + along;
% else:
        const index_t q = k0 + ${own_row(s, l)};
        const index_t from = along + ${axis.offset(names[0], "q")};
% endif
% for piece in range(16 // width):
<%
    first_e = piece * width // itemsize
    inside = f"q + {first_e} < k_end && {p}_inside[{l}]" if s.along_k else f"own + {first_e} < {limit} && q < k_end"
%>\
        ${tensor.copy(f"slab_{p}", f"{slot} * {s.chunks} + {s.place(own_row(s, l), own_column(s))}", piece, width, f"{p}_bits + from + {first_e}", inside)}
% endfor
      }
% endfor
    }
</%def>
<%def name="gather(p)">\
% if p == "b" and window:
    ${gather_window()}
% elif p == "a":
    ${gather_strided("a", A, a.column)}
% else:
    ${gather_strided("b", B, b.row)}
% endif
</%def>
<%def name="put(p, s, slot)">\
% for l in range(s.loads):
    slab_${p}[${slot} * ${s.chunks} + ${s.place(own_row(s, l), own_column(s))}] = next_${p}[${l}];
% endfor
</%def>
## The beginning and the end of a slab's way into local memory. Where arrays are seldom gathered, that must not
## cost the others registers: it begins and ends at once.
<%def name="start(slot)">\
% for p, s in (("a", A), ("b", B)):
% if s.direct:
    ${f"if ({p}_aligned) {{" if s.gathers else "{"}
    ${copies_of("a", A, a.column, slot, "i0", "m") if p == "a" else copies_of("b", B, b.row, slot, "j0", "n")}
    }
% if s.gathers:
    else {
      uint4 next_${p}[${s.loads}];
      ${gather(p)}
      ${put(p, s, slot)}
    }
% endif
% else:
    ${gather(p)}
% endif
% endfor
</%def>
<%def name="finish(slot)">\
% for p, s in (("a", A), ("b", B)):
% if not s.direct:
    ${put(p, s, slot)}
% endif
% endfor
</%def>
## ---- Fragments. `step` counts chunks along k, by twos.
## Where a lane finds its part of the first ones, as chunks; those of the others differ from one of these by constants,
## since what turns a column is the same 8 rows further, and changes nothing that is 8 columns further.
<%def name="find(p, s, warp, count)">\
<%
    if s.along_k:
        row = f"{warp} + lane % {16 if p == 'a' else 8}" + (" + lane / 16 * 8" if p == "b" else "")
        column = "lane / 16" if p == "a" else "lane / 8 % 2"
        places = [s.place(row, f"{x} + {column}") for x in range(0, depth_bytes // 16, 2)]
    elif s.words:
        places = [s.place("lane % 4", f"({warp} + {8 * x} + lane / 4) >> 2") for x in range(4)]
    else:
        row, column = ("lane % 8 + lane / 16 * 8", "lane / 8 % 2") if p == "a" else ("lane % 16", "lane / 16")
        places = [s.place(row, f"{warp} / 8 + {2 * x} + {column}") for x in range(min(4, count))]
%>\
  const int ${p}_at[${len(places)}] = {${", ".join(places)}};
</%def>
<%def name="fragment(p, s, u)">\
<%
    raw = f"raw_{p}{u}" if kind == "tf32" and not s.words else f"{p}{u}"
    first = f"slot * {s.chunks} + "
    # The parts of the four words that are further along k, and further along the other index.
    parts = [(e // 2, e % 2) if p == "a" else (e % 2, e // 2) for e in range(4)]
    word = lambda k, own: (f"round_tf32(((__local const uint *)slab_{p})[({first}{p}_at[{2 * (u % 2) + own}] + "
                           f"(step * 4 + {4 * k}) * {s.columns} + {u // 2 * 8}) * 4 + lane / 4 % 4])")
%>\
% if s.along_k:
  ${tensor.ldmatrix(raw, f"slab_{p}", f"{first}{p}_at[step / 2] + {16 * u * s.columns}", False)}
% elif s.words:
  const uint4 ${raw} = (uint4)(${", ".join(word(k, own) for k, own in parts)});
% else:
  ${tensor.ldmatrix(raw, f"slab_{p}", f"{first}{p}_at[{u % 4}] + step * {8 * s.columns} + {u // 4 * 8}", True)}
% endif
% if raw != f"{p}{u}":
  const uint4 ${p}${u} = (uint4)(round_tf32(${raw}.x), round_tf32(${raw}.y), round_tf32(${raw}.z), round_tf32(${raw}.w));
% endif
</%def>
## ---- Two neighbours of a row of C, `value`, in one store where both lie so that it is aligned.
<%def name="store_both()">\
% for e in range(2):
<% element, at = "xy"[e], f"row_at + c_column_at[{e}]" %>\
% if accumulate:
          ${"if (both) " if e else ""}value.${element} += ${expr.load(result, "c", at)};
% endif
% endfor
% if pairs:
          if (both && c_aligned) {
% if result.itemsize == 4:
            *(__global float2 *)(c + (row_at + c_column_at[0])) = value;
% else:
            ushort pair[2];
            ${expr.store(result, "value.x", compute, f"({'half' if kind == 'f16' else 'ushort'} *)pair", "0")}
            ${expr.store(result, "value.y", compute, f"({'half' if kind == 'f16' else 'ushort'} *)pair", "1")}
            *(__global uint *)(c + (row_at + c_column_at[0])) = pair[0] | (uint)pair[1] << 16;
% endif
          } else
% endif
          {
            ${expr.store(result, "value.x", compute, "c", "row_at + c_column_at[0]")}
            if (both) {
              ${expr.store(result, "value.y", compute, "c", "row_at + c_column_at[1]")}
            }
          }
</%def>
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void ${name}(
    ${signature})
{
  __local uint4 slab_a[${stages * A.chunks}];
  __local uint4 slab_b[${stages * B.chunks}];
  const int item = get_local_id(0);
  const int lane = item % 32;
  const int warp_i = item / 32 / ${across} * ${warp_m}, warp_j = item / 32 % ${across} * ${warp_n};
  ${tensor.declarations()}
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
% for p, s in (("a", A), ("b", B)):
% if s.direct and s.gathers:
  const bool ${p}_aligned = ${p}_offset % ${s.direct // itemsize} == 0;
% endif
% endfor
  a += a_offset + a_base + ${a.batch.offset("a_batch", "batch")};
  b += b_offset + ${"batch * b_batch_stride" if window else "b_base + " + b.batch.offset("b_batch", "batch")};
${operands.result_begin()}\
  c += c_offset + c_base + ${c.batch.offset("c_batch", "get_group_id(2)" if split else "batch")};
% if bias:
  bias += bias_offset + batch * bias_batch;
% endif
  __global const ${word} *a_bits = (__global const ${word} *)a;
  __global const ${word} *b_bits = (__global const ${word} *)b;
  ${prepare_strided("a", A, a.row, "i0", "m")}
% if window:
  ${prepare_window()}
% else:
  ${prepare_strided("b", B, b.column, "j0", "n")}
% endif
% for p, s in (("a", A), ("b", B)):
% if not s.direct:
  uint4 next_${p}[${s.loads}];
% endif
% endfor
% for u in range(warp_m // 16):
% for v in range(warp_n // 8):
  float4 c${u}_${v} = (float4)(0.0f);
% endfor
% endfor
  ${find("a", A, "warp_i", warp_m // 16)}
  ${find("b", B, "warp_j", warp_n // 16)}
  const index_t slabs = (k_end - k_begin + ${depth - 1}) / ${depth};
  for (int ahead = 0; ahead < ${stages - 1}; ++ahead) {
    const index_t k0 = k_begin + ahead * ${depth};
    ${start("ahead")}
    ${tensor.commit()}
    ${finish("ahead")}
  }
  int slot = 0;
  for (index_t slab = 0; slab < slabs; ++slab) {
    ${tensor.wait(stages - 2)}
    barrier(CLK_LOCAL_MEM_FENCE);
    const index_t k0 = k_begin + (slab + ${stages - 1}) * ${depth};
    // What was multiplied last: all are past that, and wait for its next contents a round later.
    const int free_slot = slot ? slot - 1 : ${stages - 1};
    ${start("free_slot")}
    ${tensor.commit()}
#pragma unroll
    for (int step = 0; step < ${depth_bytes // 16}; step += 2) {
% for p, s, count in (("a", A, warp_m // 16), ("b", B, warp_n // 16)):
% for u in range(count):
      ${fragment(p, s, u)}
% endfor
% endfor
% for u in range(warp_m // 16):
% for v in range(warp_n // 8):
      ${tensor.mma(f"c{u}_{v}", f"a{u}", f"b{v // 2}.{'zw' if v % 2 else 'xy'}")}
% endfor
% endfor
    }
    ${finish("free_slot")}
    slot = slot == ${stages - 1} ? 0 : slot + 1;
  }
  ${tensor.wait(0)}
% if pairs:
  const bool c_aligned = c_offset % 2 == 0;
% endif
% for v in range(warp_n // 8):
  {
    const index_t j = j0 + warp_j + ${8 * v} + lane % 4 * 2;
    const bool both = j + 1 < n;
    if (j < n) {
      const index_t c_column_at[2] = {${c.column.offset("c_column", "j")}, ${c.column.offset("c_column", "(j + both)")}};
% if bias == "column" and not epilogue:
      const float2 added = (float2)(${expr.load(storage, "bias", "j")}, ${expr.load(storage, "bias", "j + both")});
% endif
% for u in range(warp_m // 16):
% for half in range(2):
      {
        const index_t i = i0 + warp_i + ${16 * u + 8 * half} + lane / 4;
        if (i < m) {
          const index_t row_at = ${c.row.offset("c_row", "i")};
          float2 value = c${u}_${v}.${"hi" if half else "lo"};
% if epilogue:
${operands.store_result("value.x", "i", "j", "row_at + c_column_at[0]")}\
          if (both) {
${operands.store_result("value.y", "i", "j + 1", "row_at + c_column_at[1]")}\
          }
% else:
% if bias == "row":
          value += (float2)(${expr.load(storage, "bias", "i")});
% elif bias == "column":
          value += added;
% endif
          ${store_both()}
% endif
        }
      }
% endfor
% endfor
    }
  }
% endfor
}
