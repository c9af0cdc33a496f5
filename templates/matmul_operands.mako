## Pieces that the matrix-product kernels share: how the elements of the virtual matrices are found.
##
## A Strided operand is a set of axes (clgrad.kernels.product.Axis): the offset of an index is the dot
## product of its mixed-radix digits with strides. A Window operand is im2col of an image tensor: one
## index counts taps (channel, kernel position), the other counts positions (image, output position), and
## the element is the pixel that the tap sees from the position, 0 outside the image.
##
## Sizes and strides are kernel arguments; the rank, the kernel's extents and its steps are constants.

## An index that runs through an axis one by one keeps its digits and its offset instead of dividing.
<%def name="axis_begin(axis, prefix, index)">\
  index_t ${prefix}_rest = ${index};
  index_t ${prefix}_at = 0;
% for d in range(len(axis.digits) - 1):
  index_t ${prefix}_digit${d} = ${prefix}_rest % ${prefix}_extent${d};
  ${prefix}_rest /= ${prefix}_extent${d};
  ${prefix}_at += ${prefix}_digit${d} * ${prefix}_stride${d};
% endfor
  ${prefix}_at += ${prefix}_rest * ${prefix}_stride${len(axis.digits) - 1};
</%def>

<%def name="axis_advance(axis, prefix)">\
  ${prefix}_at += ${prefix}_stride0;
% for d in range(len(axis.digits) - 1):
  if (++${prefix}_digit${d} == ${prefix}_extent${d}) {
    ${prefix}_digit${d} = 0;
    ${prefix}_at += ${prefix}_stride${d + 1} - ${prefix}_extent${d} * ${prefix}_stride${d};
% endfor
% for d in range(len(axis.digits) - 1):
  }
% endfor
</%def>

## ---- Window operands ------------------------------------------------------------------------------

## Distance in elements between neighbours along spatial axis d.
<%def name="pitch(d)" buffered="True" filter="trim">
${" * ".join(f"b_size{e}" for e in range(d + 1, len(b.kernel))) or "1"}
</%def>

## Digits of a position: b_image, b_o0, b_o1, ... (row-major, the last axis fastest).
<%def name="position_begin(index)">\
  int b_image = ${index};
% for d in reversed(range(len(b.kernel))):
  int b_o${d} = b_image % b_positions${d};
  b_image /= b_positions${d};
% endfor
</%def>

<%def name="position_advance()">\
% for d in reversed(range(len(b.kernel))):
  if (++b_o${d} == b_positions${d}) {
    b_o${d} = 0;
% endfor
  ++b_image;
% for d in range(len(b.kernel)):
  }
% endfor
</%def>

## Digits of a tap: b_channel, b_t0, b_t1, ...; the kernel's extents are constants.
<%def name="tap_begin(index)">\
  int b_channel = ${index};
% for d in reversed(range(len(b.kernel))):
  int b_t${d} = b_channel % ${b.kernel[d]};
  b_channel /= ${b.kernel[d]};
% endfor
</%def>

<%def name="tap_advance()">\
% for d in reversed(range(len(b.kernel))):
  if (++b_t${d} == ${b.kernel[d]}) {
    b_t${d} = 0;
% endfor
  ++b_channel;
% for d in range(len(b.kernel)):
  }
% endfor
</%def>

<%def name="tap_offset()" buffered="True" filter="trim">
b_channel * b_channel_stride${"".join(f" + b_t{d} * ({b.step[d]}) * ({pitch(d)})" for d in range(len(b.kernel)))}
</%def>

<%def name="position_offset()" buffered="True" filter="trim">
b_image * b_image_stride${"".join(f" + (b_o{d} * {b.scale[d]} + ({b.origin[d]})) * ({pitch(d)})" for d in range(len(b.kernel)))}
</%def>

## Tables about `count` positions, for load_positions. A vector of positions is made of pieces: runs that
## lie in one row of the image, and so at equal distances in memory.
<%def name="position_tables(count)">\
  index_t b_base[${count}];  // element offset of the position's tap 0
% for d in b.bounded:
  int b_at${d}[${count}];  // coordinate of tap 0
% if b.masked:
  ${M}${lanes} b_mask${d}[${b.kernel[d] * count // lanes}];  // [tap][vector]: within the image?
% endif
% endfor
  int b_pieces[${count // lanes}];
  index_t b_piece[${count}];  // [vector][piece]: where lane 0 would be if the piece began there
  ${M}${lanes} b_piece_mask[${count}];  // [vector][piece]: the lanes from the piece's first on
  index_t b_first, b_last;  // bounds of what vector loads touch
</%def>

## Fill the tables for `count` positions from `index` on. Entries from `valid` on can be loaded like the
## others; nobody uses their values.
<%def name="locate_positions(index, count, valid)">\
<%
    tail = len(b.kernel) - 1
    step = b.scale[tail]
    at = lambda d: f"b_o{d} * {b.scale[d]} + ({b.origin[d]})"
    lane_index = ", ".join(str(i) for i in range(lanes))
%>\
  {
    ${position_begin(index)}
    if (${valid} >= ${count} && b_o${tail} + ${count} <= b_positions${tail}) {  // one row of the image
      b_first = ${position_offset()};
      b_last = b_first + ${(count - 1) * step};
      for (int j = 0; j < ${count}; ++j) {
        b_base[j] = b_first + j * ${step};
% for d in b.bounded:
        b_at${d}[j] = ${at(d)}${f" + j * {step}" if d == tail else ""};
% endfor
      }
      for (int v = 0; v < ${count // lanes}; ++v) {
        b_pieces[v] = 1;
        b_piece[v * ${lanes}] = b_base[v * ${lanes}];
      }
    } else {
      b_first = b_last = ${position_offset()};
      for (int j = 0; j < ${count}; ++j) {
        const int v = j / ${lanes}, lane = j % ${lanes};
        if (j < ${valid}) {
          b_base[j] = ${position_offset()};
% for d in b.bounded:
          b_at${d}[j] = ${at(d)};
% endfor
          ${position_advance()}
        } else {
          b_base[j] = b_base[0];
% for d in b.bounded:
          b_at${d}[j] = b_at${d}[0];
% endfor
        }
        if (lane == 0) b_pieces[v] = 0;
        if (lane == 0 || (j < ${valid} && b_base[j] != b_base[j - 1] + ${step})) {
          const int p = v * ${lanes} + b_pieces[v]++;
          b_piece[p] = b_base[j] - lane * ${step};
          b_piece_mask[p] = convert_${M}${lanes}((int${lanes})(${lane_index}) >= lane);
          b_first = min(b_first, b_piece[p]);
          b_last = max(b_last, b_piece[p] + ${(lanes - 1) * step});
        }
      }
    }
% if b.masked:
    for (int v = 0; v < ${count // lanes}; ++v) {
% for d in b.bounded:
      for (int t = 0; t < ${b.kernel[d]}; ++t)
        b_mask${d}[t * ${count // lanes} + v] = ${inside_mask(d, "t", f"v * {lanes}")};
% endfor
    }
% endif
  }
</%def>

## Mask of the positions from table entry `start` on that see tap t, along axis d, within the image.
<%def name="inside_mask(d, t, start)" buffered="True" filter="trim">
convert_${M}${lanes}(convert_uint${lanes}(vload${lanes}(0, b_at${d} + ${start}) + (${t}) * (${b.step[d]})) < (uint${lanes})(b_size${d}))
</%def>

## A vector of pixels from `at` on, `scale` apart.
<%def name="load_row(at)" buffered="True" filter="trim">
% if b.scale[-1] == 1:
${expr.load(storage, "b_image0", at, lanes)}
% else:
(${T}${lanes})(${expr.load(storage, "b_image0", at, lanes)}.even, ${expr.load(storage, "b_image0", f"{at} + {lanes}", lanes)}.even)
% endif
</%def>

## A tap seen from the positions of vector `v` of the tables (`vectors` in all); written to `target`.
## tap(d) is the tap's coordinate along axis d, `offset` its distance from tap 0. `target` is a pointer of
## address space `space`, aligned to vectors (as a vector type, because PoCL splits what vstore writes).
## Each piece is one vector load; what a load fetches beside the image is masked, and must only lie within
## the tensor [b_low, b_high). Strides above 2 gain nothing from that.
<%def name="load_positions(v, vectors, offset, tap, space, target)">\
<%
    V = lanes
    as_mask = lambda d: (f"b_mask{d}[{tap(d)} * {vectors} + {v}]" if b.masked
                         else inside_mask(d, tap(d), v * V))
%>\
  {
    const index_t offset = ${offset};
% if b.scale[-1] <= 2:
    if (b_first + offset >= b_low && b_last + offset + ${b.scale[-1] - 1} < b_high) {
      ${T}${V} value = ${load_row(f"b_piece[{v * V}] + offset")};
      for (int p = ${v * V + 1}; p < ${v * V} + b_pieces[${v}]; ++p)
        value = as_${T}${V}((as_${M}${V}(value) & ~b_piece_mask[p]) | (as_${M}${V}(${load_row("b_piece[p] + offset")}) & b_piece_mask[p]));
% if b.bounded:
      value = as_${T}${V}(as_${M}${V}(value)${"".join(f" & {as_mask(d)}" for d in b.bounded)});
% endif
      *(${space} ${T}${V} *)(${target}) = value;
    } else
% endif
    for (int lane = 0; lane < ${V}; ++lane) {
      ${T} value = 0;
% if b.bounded:
      if (${" && ".join(f"(uint)(b_at{d}[{v * V} + lane] + {tap(d)} * ({b.step[d]})) < (uint)b_size{d}" for d in b.bounded)})
% endif
        value = ${expr.load(storage, "b_image0", f"b_base[{v * V} + lane] + offset")};
      (${target})[lane] = value;
    }
  }
</%def>

## ---- Transposition in registers --------------------------------------------------------------------

## Store the transpose of the lanes x lanes block whose rows `row(i)` spells to aligned local memory, with
## row distance `pitch`.
<%def name="transpose_block(row, target, pitch)">\
${transposed(row, lambda i, value: f"*(__local {T}{lanes} *)({target} + {i} * {pitch}) = {value};")}\
</%def>

## The same, with `put(i, name)` to spell what becomes of row i of the transpose.
## log2(lanes) perfect shuffles: each interleaves row i with row i + lanes/2.
<%def name="transposed(row, put)">\
<%
    V = lanes
    low = lambda x, y: ", ".join(f"{x}.s{i:x}, {y}.s{i:x}" for i in range(V // 2))
    high = lambda x, y: ", ".join(f"{x}.s{i:x}, {y}.s{i:x}" for i in range(V // 2, V))
    rounds = V.bit_length() - 1
%>\
% for i in range(V):
  const ${T}${V} r0_${i} = ${row(i)};
% endfor
% for step in range(rounds):
% for i in range(V // 2):
<% x, y = f"r{step}_{i}", f"r{step}_{i + V // 2}" %>\
  const ${T}${V} r${step + 1}_${2 * i} = (${T}${V})(${low(x, y)});
  const ${T}${V} r${step + 1}_${2 * i + 1} = (${T}${V})(${high(x, y)});
% endfor
% endfor
% for i in range(V):
  ${put(i, f"r{rounds}_{i}")}
% endfor
</%def>

## ---- Results ---------------------------------------------------------------------------------------

## What has to stand before C's pointer is moved.
<%def name="result_begin()">\
% if epilogue:
  __global ${expr.dtypes.describe(result).storage} *const c_start = c + c_offset;
% for pointer in epilogue.pointers():
  ${pointer} += ${pointer}_offset;
% endfor
% endif
</%def>

## Completes and stores `value`, the variable that holds the sum for element (i, j) and for those of its row
## that follow it, `width` in all; it lies at `at` from C's pointer.
<%def name="store_result(value, i, j, at, width=1)">\
% if bias == "row":
    ${value} += ${expr.load(storage, "bias", i)};
% elif bias == "column":
    ${value} += ${expr.load(storage, "bias", j, width)};
% endif
% if accumulate:
    ${value} += ${expr.load(result, "c", at, width)};
% endif
% if epilogue:
    {
      const size_t place = c - c_start + (${at});
% for line in epilogue.statements(value, result, width):
      ${line}
% endfor
    }
% else:
    ${expr.store(result, value, compute, "c", at, width)}
% endif
</%def>
