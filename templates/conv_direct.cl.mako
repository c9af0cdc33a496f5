## Direct convolution, CPU shape: C[batch, i, position] = sum over channels and taps of
##   A[batch, i, (channel, tap)] * image[channel, position seen by tap] (+ bias).
##
## Method: the channels of an image lie padded in local memory (on CPUs: cache), so that each tap is a
##   shifted view of them: nothing is copied for each tap, as im2col does (see conv_tiles.mako; E. Georganas
##   et al.: Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures, SC 2018, blocks
##   registers likewise). A tile of C, `rows_of_c` by `vectors` vectors of positions, stays in registers
##   while channels and taps run.
## Work: a work-item computes all rows of C for one tile of `share` images. It packs `block` channels at a
##   time. Range: (tiles, images / share, batch); work-groups of one item.
## A: packed by matmul_pack.cl.mako, [batch][panel][channel, tap][row].
## Arithmetic: a * b + c, which compilers contract to one instruction; fma() is a library call on some CPUs.
## Tunables (clgrad/kernels/conv_direct.py): rows_of_c, vectors, block, tile_rows, tile_columns, piece.
<%namespace name="common" file="common.mako"/>\
<%namespace name="tiles" file="conv_tiles.mako"/>\
<%
    V, R = lanes, rows_of_c
    taps = kernel[0] * kernel[1]
%>\
${common.prologue(signature, ())}
## All taps of kernel row t0, for one channel.
<%def name="row_of_taps(t0)">\
% for t1 in range(kernel[1]):
          {
% for v in range(vectors):
            const ${T}${V} x${v} = vload${V}(0, at + (${tiles.tap_distance(t0, t1)}${f" + {v * V}" if v else ""}));
% endfor
% for i in range(R):
            {
              const ${T} w = weight[(${t0} * ${kernel[1]} + ${t1}) * ${R} + ${i}];
% for v in range(vectors):
              c${i}_${v} = w * x${v} + c${i}_${v};
% endfor
            }
% endfor
          }
% endfor
</%def>
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${signature})
{
  __local ${T} planes[${planes}] __attribute__((aligned(64)));
  __local ${T} sums[${sums}] __attribute__((aligned(64)));  // [row of C][flat index]
${tiles.locate_tile("get_group_id(0)")}\
  const int first_image = get_group_id(1) * share, last_image = min((int)images, first_image + (int)share);
  const index_t batch = get_group_id(2);
  a += a_offset + batch * a_matrix;
  b += b_offset + batch * b_batch_stride;
  c += c_offset + c_base + batch * c_batch + first_row * c_line + first_column * c_step;
% if bias:
  bias += bias_offset + batch * bias_batch;
% endif
${tiles.clear(planes)}\
  for (int image = first_image; image < last_image; ++image) {
  for (int channel0 = 0; channel0 < channels; channel0 += block) {
    const int depth = min((int)block, (int)channels - channel0);
    for (int q = 0; q < depth; ++q) {
${tiles.pack_channel("b + (image * b_image_stride + (channel0 + q) * b_channel_stride)", "planes + q * channel")}\
    }
    for (int i0 = 0; i0 < m; i0 += ${R}) {
      __global const ${T} *const panel = a + (index_t)i0 * channels * ${taps} + (index_t)channel0 * ${taps * R};
      __local ${T} *const to = sums + i0 * ${row};
      for (int o = 0; o < count; o += ${vectors * V}) {
% for i in range(R):
% for v in range(vectors):
        ${T}${V} c${i}_${v} = (${T}${V})(0);
% endfor
% endfor
% if blocked:
        if (channel0) {
% for i in range(R):
% for v in range(vectors):
          c${i}_${v} = vload${V}(0, to + (${i * row} + o + ${v * V}));
% endfor
% endfor
        }
% endif
% if skips:
        // Rows of the kernel that see the image from some line of these: the others see padding alone.
        const int top = y0 + o / pitch * ${scale[0]};
        const int bottom = y0 + min(o + ${vectors * V - 1}, count - 1) / pitch * ${scale[0]};
        const int t_low = (max(-bottom, 0) + ${step[0] - 1}) / ${step[0]};
        const int t_high = top < size0 ? min(${kernel[0]}, ((int)size0 - 1 - top) / ${step[0]} + 1) : 0;
% endif
        __global const ${T} *restrict weight = panel;
        __local const ${T} *restrict at = planes + o;
        for (int q = 0; q < depth; ++q, weight += ${taps * R}, at += channel) {
% if unrolled:
% for t0 in range(kernel[0]):
${row_of_taps(t0)}\
% endfor
% else:
          for (int t0 = ${"t_low" if skips else "0"}; t0 < ${"t_high" if skips else kernel[0]}; ++t0) {
${row_of_taps("t0")}\
          }
% endif
        }
% for i in range(R):
% for v in range(vectors):
        vstore${V}(c${i}_${v}, 0, to + (${i * row} + o + ${v * V}));
% endfor
% endfor
      }
    }
  }
  for (int r = 0; r < m; ++r) {
% if bias:
    const ${T} added = ${expr.load(storage, "bias", "r")};
% endif
<% added = " + added" if bias else "" %>\
    for (int line = 0; line < rows; ++line) {
      __local const ${T} *const sum = sums + r * ${row} + line * pitch;
      __global ${expr.dtypes.describe(storage).storage} *const to = c + (image * c_image + r * c_row + line * c_line);
      int i = 0;
${tiles.copy("columns", lambda at, width: expr.store(storage, f"(vload{width}(0, sum + {at}){added})", compute, "to", at, width), lambda at: expr.store(storage, f"(sum[{at}]{added})", compute, "to", f"{at} * c_step"), vectors=dense)}\
    }
  }
  }
}
