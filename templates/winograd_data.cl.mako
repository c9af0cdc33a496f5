## Patches of images at the 36 points of F(4 x 4, 3 x 3): points[point][channel][image, patch]. Patches of data
##   have 6 x 6 elements; those of an output's gradient have 4 x 4, for F(3 x 3, 4 x 4).
##
## Method: A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks, CVPR 2016. 4 x 4 outputs of
##   a 3 x 3 kernel come from a patch of 6 x 6 elements by 36 products instead of 144: both are evaluated at
##   36 points, multiplied there (a matrix product for each point sums over channels), and the outputs are
##   interpolated. The gradient of the kernel comes from both kinds of patches likewise. The points 0, +-3/4, +-3/2 and infinity are exact in binary and lose half as much as the
##   usual 0, +-1, +-2 (B. Barabasz et al.: Error Analysis and Improving the Accuracy of Winograd Convolution
##   for Deep Neural Networks, ACM TOMS 46(4), 2020, on the choice of points).
## Work: a work-item takes one channel and one band of the patches of each image. It packs the band, padded,
##   into local memory (conv_tiles.mako). Vectors run along the patches. Range: (bands, channels); work-groups
##   of one item.
<%namespace name="common" file="common.mako"/>\
<%namespace name="tiles" file="conv_tiles.mako"/>\
<%namespace name="winograd" file="winograd.mako"/>\
<%
    V = lanes
    TV = f"{T}{V}"
    side = kernel[0]
%>\
${common.prologue(signature, ())}
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${name}(
    ${signature})
{
  __local ${T} planes[${planes}] __attribute__((aligned(64)));
  __local int places[${patches}];  // where patches begin
  __local ${TV} edge[36];
${tiles.locate_tile("get_group_id(0)")}\
  const int patches = rows * columns;
  b += b_offset + first_image * b_image + get_group_id(1) * b_channel;
  points += points_offset + get_group_id(1) * all_patches + first_row * columns;
  for (int p = 0; p < ${patches}; ++p) {
    const int patch = min(p, patches - 1);
    places[p] = patch / columns * 4 * pitch + patch % columns * 4;
  }
${tiles.clear(planes)}\
  for (int image = 0; image < images; ++image, b += b_image, points += positions0 * positions1) {
${tiles.pack_channel("b", "planes")}\
    for (int p = 0; p < patches; p += ${V}) {
% for l in range(V):
      __local const ${T} *const at${l} = planes + places[p + ${l}];
% endfor
      int line = 0;
% for i in range(side):
% for j in range(side):
      const ${TV} x${i}_${j} = (${TV})(${", ".join(f"at{l}[line + {j}]" for l in range(V))});
% endfor
      line += pitch;
% endfor
${winograd.transform(kind, side, TV)}\
      if (p + ${V} <= patches) {
% for q in range(36):
        vstore${V}(y${q // 6}_${q % 6}, 0, points + (${q} * plane + p));
% endfor
      } else {
% for q in range(36):
        edge[${q}] = y${q // 6}_${q % 6};
% endfor
        for (int q = 0; q < 36; ++q)
          for (int l = 0; l < patches - p; ++l)
            points[q * plane + p + l] = ((__local const ${T} *)(edge + q))[l];
      }
    }
  }
}
