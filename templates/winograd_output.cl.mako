## Outputs of a convolution from the products at the 36 points of F(4 x 4, 3 x 3),
##   points[point][filter][image, patch]. See winograd_data.cl.mako for the method.
##
## Work: a work-item takes one filter and one band of the patches of each image. Vectors run along the patches.
##   Range: (bands, filters); work-groups of one item.
## Edges: infinity and NaN, and what overflows at the points, would spread over a patch. A patch with an output
##   that is not finite is computed again, tap by tap.
<%namespace name="common" file="common.mako"/>\
<%namespace name="tiles" file="conv_tiles.mako"/>\
<%namespace name="winograd" file="winograd.mako"/>\
<%
    V = lanes
    TV = f"{T}{V}"
    each = [f"y{i}_{j}" for i in range(4) for j in range(4)]
%>\
${common.prologue(signature, ())}
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${signature})
{
  __local ${T} outputs[${outputs}] __attribute__((aligned(64)));
  __local ${T} zeros[${V}];
  __local int places[${patches}];  // where the outputs of patches begin
${tiles.locate_tile("get_group_id(0)")}\
  const int patches = rows * columns;
  const int width = 4 * columns;
  const int filter = get_group_id(1);
  points += points_offset + filter * all_patches + first_row * columns;
  b += b_offset + first_image * b_image;
  w += w_offset + filter * w_filter;
  c += c_offset + first_image * c_image + filter * c_filter + first_row * 4 * out1;
% if bias:
  const ${T} added = bias[bias_offset + filter];
% endif
<% added = " + added" if bias else "" %>\
  for (int p = 0; p < ${patches}; ++p)  // those beyond the last go to lines behind the last
    places[p] = p < patches ? p / columns * 4 * width + p % columns * 4 : patches * 16;
  for (int image = 0; image < images; ++image, b += b_image, c += c_image, points += positions0 * positions1) {
    for (int p = 0; p < patches; p += ${V}) {
% for q in range(36):
      const ${TV} x${q // 6}_${q % 6} = vload${V}(0, points + (${q} * plane + p));
% endfor
${winograd.transform("product", 6, TV)}\
## Rows of some patches, one behind the other, in a vector.
% for i in range(4):
% for l in range(0, V, V // 4):
      {
        const ${TV} some = (${TV})(${", ".join(f"y{i}_{j}.s{l + k:x}" for k in range(V // 4) for j in range(4))});
% for k in range(V // 4):
        vstore4(some.s${"".join(f"{4 * k + j:x}" for j in range(4))}, 0, outputs + (places[p + ${l + k}] + ${i} * width));
% endfor
      }
% endfor
% endfor
      const ${TV} zero = ${" + ".join(f"0 * {y}" for y in each)};
      if (any(zero != zero)) {
        vstore${V}(zero, 0, zeros);
        for (int l = 0; l < min(${V}, patches - p); ++l)
          for (int o = zeros[l] == 0 ? 16 : 0; o < 16; ++o) {
            const int row = (p + l) / columns * 4 + o / 4, column = (p + l) % columns * 4 + o % 4;
            ${T} sum = 0;
            for (int q = 0; q < channels; ++q)
              for (int t = 0; t < 9; ++t) {
                const int i = y0 + row + t / 3, j = column + x0 + t % 3;
                const bool inside = i >= 0 && i < size0 && j >= 0 && j < size1;
                const ${T} seen = inside ? b[q * b_channel + i * size1 + j] : 0;
                sum += seen * w[q * w_channel + ${"8 - t" if flipped else "t"}];
              }
            outputs[row * width + column] = sum;
          }
      }
    }
    for (int line = 0; line < min(4 * rows, (int)out0 - 4 * first_row); ++line) {
      __local const ${T} *const from = outputs + line * width;
      __global ${T} *const to = c + line * out1;
      int i = 0;
${tiles.copy("out1", lambda at, width: f"vstore{width}(vload{width}(0, from + {at}){added}, 0, to + {at});", lambda at: f"to[{at}] = from[{at}]{added};")}\
    }
  }
}
