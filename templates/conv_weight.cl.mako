## Gradient of the weights of a convolution of few channels, CPU shape: C[batch, i, (channel, tap)] = sum over
##   images and positions of A[batch, i, (image, position)] * image[channel, position seen by tap].
##
## Method: the channels of both operands lie padded in local memory (on CPUs: cache), the image as in
##   conv_tiles.mako and A with the same pitch. Both are then read along the flat index, one vector of A for
##   a whole set of taps, each of which has a vector of sums in registers.
## Work: a work-item computes all of C for one of `batch` and some of the images, the `splits`-th part.
##   Range: (splits, batch); work-groups of one item. With splits > 1 each makes a C of its own, and
##   matmul_sum.cl.mako adds them.
## Edges: the flat indices behind the ends of rows are left out by a mask, since infinity times a padding
##   of zeros would not be zero.
## Tunables (clgrad/kernels/conv_direct.py): rows_of_c, set_of_taps, tile_rows, tile_columns, piece.
<%namespace name="common" file="common.mako"/>\
<%namespace name="tiles" file="conv_tiles.mako"/>\
<%
    V, R = lanes, rows_of_c
    taps = kernel[0] * kernel[1]
    sets = [range(t, min(t + set_of_taps, taps)) for t in range(0, taps, set_of_taps)]
    total = f"sums + ((i + {{}}) * channels + q) * {taps} + {{}}"
%>\
${common.prologue(signature, ())}
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${signature})
{
  __local ${T} planes[${planes}] __attribute__((aligned(64)));
  __local ${T} heads[${heads}] __attribute__((aligned(64)));  // A, [row][flat index]
  __local ${M} used[${row}] __attribute__((aligned(64)));  // -1 where the flat index is a position
  __local ${T}${V} sums[${sums}];  // [row][channel][tap]
  const index_t batch = get_group_id(1);
  a += a_offset + a_base + batch * a_batch;
  b += b_offset + batch * b_batch_stride;
  c += c_offset + c_base + (batch * splits + get_group_id(0)) * c_batch;
  const int first_image = get_group_id(0) * share, last_image = min((int)images, first_image + (int)share);
  for (int i = 0; i < m * channels * ${taps}; ++i) sums[i] = (${T}${V})(0);
  for (int tile = 0; tile < tiles; ++tile) {
${tiles.locate_tile("tile")}\
${tiles.clear(planes)}\
    for (int line = 0; line < rows; ++line)
      for (int i = 0; i < pitch; ++i) used[line * pitch + i] = i < columns ? -1 : 0;
    for (int i = count; i < ${row}; ++i) used[i] = 0;
    for (int image = first_image; image < last_image; ++image) {
      for (int q = 0; q < channels; ++q) {
${tiles.pack_channel("b + (image * b_image_stride + q * b_channel_stride)", "planes + q * channel")}\
      }
      for (int r = 0; r < m; ++r)
        for (int line = 0; line < rows; ++line) {
          __global const ${expr.dtypes.describe(storage).storage} *const from = a + (image * a_image + r * a_row + (first_row + line) * positions1 + first_column);
          __local ${T} *const to = heads + r * ${row} + line * pitch;
          int i = 0;
${tiles.copy("columns", lambda at, width: f"vstore{width}({expr.load(storage, 'from', at, width)}, 0, to + {at});", lambda at: f"to[{at}] = {expr.load(storage, 'from', at)};")}\
        }
      for (int i = 0; i < m; i += ${R})
        for (int q = 0; q < channels; ++q) {
          __local const ${T} *const plane0 = planes + q * channel;
% for set in sets:
          {
% for r in range(R):
% for t in set:
            ${T}${V} c${r}_${t} = ${(total.format(r, t)).replace("sums + ", "sums[")}];
% endfor
% endfor
            __local const ${T} *at = plane0;
            for (int o = 0; o < count; o += ${V}, at += ${V}) {
              const ${M}${V} mask = vload${V}(0, used + o);
% for r in range(R):
              const ${T}${V} y${r} = vload${V}(0, heads + (i + ${r}) * ${row} + o);
% endfor
% for t in set:
              {
                const ${T}${V} x = vload${V}(0, at + (${tiles.tap_distance(t // kernel[1], t % kernel[1])}));
% for r in range(R):
                c${r}_${t} = select(c${r}_${t}, y${r} * x + c${r}_${t}, mask);
% endfor
              }
% endfor
            }
% for r in range(R):
% for t in set:
            ${(total.format(r, t)).replace("sums + ", "sums[")}] = c${r}_${t};
% endfor
% endfor
          }
% endfor
        }
    }
  }
  for (int r = 0; r < m; ++r)
    for (int j = 0; j < channels * ${taps}; ++j) {
      __local const ${T} *const lane = (__local const ${T} *)(sums + r * channels * ${taps} + j);
      ${T} value = lane[0];
% for l in range(1, V):
      value += lane[${l}];
% endfor
      ${expr.store(result, "value", compute, "c", f"r * c_row + j * c_column")}
    }
}
