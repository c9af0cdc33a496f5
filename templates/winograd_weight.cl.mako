## Kernels of 3 x 3 taps at the 36 points of F(4 x 4, 3 x 3): points[point][filter][channel]. See
##   winograd.mako, and winograd_data.cl.mako for the method. Vectors run along the channels.
## Range: (filters); work-groups of one item.
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
  __local ${TV} edge[36];
  const index_t filter = get_group_id(0);
  w += w_offset + filter * w_filter;
  points += points_offset + filter * channels;
  for (int c = 0; c < channels; c += ${V}) {
% for i in range(3):
% for j in range(3):
<% tap = 3 * i + j if not flipped else 8 - 3 * i - j %>\
        const ${TV} x${i}_${j} = (${TV})(${", ".join(f"w[min(c + {l}, (int)channels - 1) * w_channel + {tap}]" for l in range(V))});
% endfor
% endfor
${winograd.transform("weight", 3, TV)}\
    if (c + ${V} <= channels) {
% for p in range(36):
      vstore${V}(y${p // 6}_${p % 6}, 0, points + (${p} * plane + c));
% endfor
    } else {
% for p in range(36):
      edge[${p}] = y${p // 6}_${p % 6};
% endfor
      for (int p = 0; p < 36; ++p)
        for (int l = 0; l < channels - c; ++l)
          points[p * plane + c + l] = ((__local const ${T} *)(edge + p))[l];
    }
  }
}
