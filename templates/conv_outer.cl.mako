## Gradient of the weights of a convolution, CPU shape: C[batch, i, (channel, tap)] = sum over images and
##   positions of A[batch, i, (image, position)] * image[channel, position seen by tap].
##
## Method: outer products. Vectors run along i: A is transposed into local memory (on CPUs: cache), the
##   channels of the image lie there padded, and each element that a tap sees is multiplied by the vectors of
##   its position. The sums of some channels and rows of the kernel stay in registers while the positions
##   run, so nothing is copied for each tap, and nothing is computed beyond the ends of rows.
## Work: a work-item computes `width` rows of C and `block` channels, for some of the images, the
##   `splits`-th part. Range: (panels of rows, splits, batch * blocks); work-groups of one item. With splits
##   > 1 each makes a C of its own, and matmul_sum.cl.mako adds them.
## Arithmetic: a * b + c, which compilers contract to one instruction; fma() is a library call on some CPUs.
## Tunables (clgrad/kernels/conv_weight.py): vectors, group, lines_of_taps, block, tile_rows, tile_columns.
<%namespace name="common" file="common.mako"/>\
<%namespace name="operands" file="matmul_operands.mako"/>\
<%namespace name="tiles" file="conv_tiles.mako"/>\
<%
    V = lanes
    width = vectors * V
    taps = kernel[0] * kernel[1]
    sets = [range(t, min(t + lines_of_taps, kernel[0])) for t in range(0, kernel[0], lines_of_taps)]
    A = expr.dtypes.describe(storage).storage
%>\
${common.prologue(signature, ())}
## The sums of channels [q, q + count) and of the taps in the rows `lines` of the kernel.
<%def name="accumulate(count, lines)">\
<% each = [(g, t0, t1, v) for g in range(count) for t0 in lines for t1 in range(kernel[1]) for v in range(vectors)] %>\
          {
% for g, t0, t1, v in each:
            ${T}${V} c${g}_${t0}_${t1}_${v} = sums[((q + ${g}) * ${taps} + ${t0 * kernel[1] + t1}) * ${vectors} + ${v}];
% endfor
            __local const ${T}${V} *restrict y = heads;
            for (int line = 0; line < rows; ++line) {
% for g in range(count):
% for t0 in lines:
              __local const ${T} *restrict x${g}_${t0} = planes + ((q + ${g}) * channel + (line * ${scale[0]} + ${t0 * step[0]}) * pitch);
% endfor
% endfor
              for (int i = 0; i < columns; ++i, y += ${vectors}) {
% for v in range(vectors):
                const ${T}${V} y${v} = y[${v}];
% endfor
% for g in range(count):
% for t0 in lines:
% for t1 in range(kernel[1]):
                {
                  const ${T} x = x${g}_${t0}[i * ${scale[1]} + ${t1 * step[1]}];
% for v in range(vectors):
                  c${g}_${t0}_${t1}_${v} = x * y${v} + c${g}_${t0}_${t1}_${v};
% endfor
                }
% endfor
% endfor
% endfor
              }
            }
% for g, t0, t1, v in each:
            sums[((q + ${g}) * ${taps} + ${t0 * kernel[1] + t1}) * ${vectors} + ${v}] = c${g}_${t0}_${t1}_${v};
% endfor
          }
</%def>
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${signature})
{
  __local ${T} planes[${planes}] __attribute__((aligned(64)));
  __local ${T}${V} heads[${heads}];  // A, [position][row]
  __local ${T}${V} sums[${sums}];  // [channel][tap][row]
  __local ${T} *const head = (__local ${T} *)heads;
  const int j0 = get_group_id(0) * ${width};
  const index_t batch = get_group_id(2) / blocks;
  const int channel0 = get_group_id(2) % blocks * block, depth = min((int)block, (int)channels - channel0);
  const int first_image = get_group_id(1) * share, last_image = min((int)images, first_image + (int)share);
  a += a_offset + a_base + batch * a_batch;
  b += b_offset + batch * b_batch_stride + channel0 * b_channel_stride;
  c += c_offset + c_base + (batch * splits + get_group_id(1)) * c_batch + channel0 * ${taps} * c_column;
  for (int i = 0; i < depth * ${taps * vectors}; ++i) sums[i] = (${T}${V})(0);
  for (int tile = 0; tile < tiles; ++tile) {
${tiles.locate_tile("tile")}\
${tiles.clear(planes)}\
    // Tiles of whole rows lie in one piece.
    const int length = columns == positions1 ? rows * columns : columns;
    for (int image = first_image; image < last_image; ++image) {
      for (int q = 0; q < depth; ++q) {
${tiles.pack_channel("b + (image * b_image_stride + q * b_channel_stride)", "planes + q * channel")}\
      }
      for (int p = 0; p < rows * columns; p += length) {
        __global const ${A} *const from = a + (image * a_image + (first_row + p / columns) * positions1 + first_column);
        int k = 0;
        for (; k + ${V} <= length; k += ${V})
          for (int v = 0; v < ${vectors}; ++v) {
            ${operands.transpose_block(lambda i: expr.load(storage, "from", f"min(j0 + v * {V} + {i}, (int)m - 1) * a_row + k", V), f"head + (p + k) * {width} + v * {V}", width)}
          }
        for (; k < length; ++k)
          for (int j = 0; j < ${width}; ++j)
            head[(p + k) * ${width} + j] = ${expr.load(storage, "from", "min(j0 + j, (int)m - 1) * a_row + k")};
      }
% for lines in sets:
      {
        int q = 0;
% if group > 1:
        for (; q + ${group} <= depth; q += ${group})
${accumulate(group, lines)}\
% endif
        for (; q < depth; ++q)
${accumulate(1, lines)}\
      }
% endfor
    }
  }
  for (int j = 0; j < min(${width}, (int)m - j0); ++j)
    for (int i = 0; i < depth * ${taps}; ++i) {
      const ${T} value = ((__local const ${T} *)sums)[i * ${width} + j];
      ${expr.store(result, "value", compute, "c", "(j0 + j) * c_row + i * c_column")}
    }
}
