## Gradients of kernels of 3 x 3 taps from the products at the 36 points of F(3 x 3, 4 x 4),
##   points[point][filter][channel]. See winograd_data.cl.mako for the method. Vectors run along the channels.
## Range: (filters); work-groups of one item.
## Edges: as in winograd_output.cl.mako, what is not finite is computed again, position by position.
<%namespace name="common" file="common.mako"/>\
<%namespace name="winograd" file="winograd.mako"/>\
<%
    V = lanes
    TV = f"{T}{V}"
%>\
${common.prologue(signature, ())}
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${signature})
{
  __local ${TV} taps[9], parts;
  __local ${T} zeros[${V}];
  const int filter = get_group_id(0);
  points += points_offset + filter * channels;
  b += b_offset;
  head += head_offset + filter * head_filter;
  w += w_offset + filter * channels * 9;
  for (int c = 0; c < channels; c += ${V}) {
% for q in range(36):
    const ${TV} x${q // 6}_${q % 6} = vload${V}(0, points + (${q} * plane + c));
% endfor
${winograd.transform("gradient", 6, TV)}\
% for t in range(9):
    taps[${t}] = y${t // 3}_${t % 3};
% endfor
    vstore${V}(${" + ".join(f"0 * y{t // 3}_{t % 3}" for t in range(9))}, 0, zeros);
    for (int l = 0; l < min(${V}, (int)channels - c); ++l)
      for (int t = 0; t < 9; ++t) {
        ${T} value = ((__local const ${T} *)(taps + t))[l];
        if (zeros[l] != 0) {
          value = 0;
          // Columns whose tap lies within the image.
          const int row = t / 3 + (${origin[0]}), column = t % 3 + (${origin[1]});
          const int low = clamp(-column, 0, (int)out1), high = clamp((int)size1 - column, low, (int)out1);
          ${TV} sums = (${TV})(0);
          for (int image = 0; image < images; ++image)
            for (int i = 0; i < out0; ++i) {
              __global const ${T} *const y = head + (image * head_image + i * out1);
              const bool inside = i + row >= 0 && i + row < size0;
              __global const ${T} *const seen = b + (image * b_image + (c + l) * b_channel + (inside ? i + row : 0) * size1 + column);
              int j = inside ? low : (int)out1;
              for (int k = 0; k < (inside ? low : (int)out1); ++k) value += 0 * y[k];
              for (; j + ${V} <= high; j += ${V}) sums += vload${V}(0, seen + j) * vload${V}(0, y + j);
              for (; j < high; ++j) value += seen[j] * y[j];
              for (; j < out1; ++j) value += 0 * y[j];
            }
          parts = sums;
          for (int k = 0; k < ${V}; ++k) value += ((__local const ${T} *)&parts)[k];
        }
        w[(c + l) * 9 + t] = value;
      }
  }
}
