## Pieces that the direct convolutions share: tiles of an image, padded, in local memory.
##
## A tile of `rows` by `columns` positions sees a part of the image. It is packed row after row, `pitch`
## elements apart, with zeros outside the image. With a stride, each residue of the coordinates modulo the
## stride is a plane of its own (`phases`; 1 leaves them together). A tap then sees, from position (y, x) at the flat index y * pitch + x, the
## element at this index plus a distance of its own: vectors run along the flat index and need neither
## masks nor ends of rows. The pitch - columns indices behind each row are computed and not used.

## Where the plane of a phase begins.
<%def name="plane(phase0, phase1)" buffered="True" filter="trim">
${f"(({phase0}) * {phases[1]} + ({phase1})) * plane" if phases != (1, 1) else "0"}
</%def>

## How far the element that tap (t0, t1) sees lies from the position's flat index.
<%def name="tap_distance(t0, t1)" buffered="True" filter="trim">
${distance_of_row(t0)} + ${distance_in_row(t1)}
</%def>

<%def name="distance_of_row(t0)" buffered="True" filter="trim">
<% phase, shift = (f"({t0}) * {step[0]} % {phases[0]}", f"({t0}) * {step[0]} / {phases[0]}") %>\
${f"{phase} * {phases[1]} * plane + " if phases[0] > 1 else ""}${shift if phases[0] > 1 else f"({t0}) * {step[0]}"} * pitch
</%def>

<%def name="distance_in_row(t1)" buffered="True" filter="trim">
<% at = t1 * step[1] %>\
${f"{at % phases[1]} * plane + " if at % phases[1] else ""}${at // phases[1]}
</%def>

## Where a work-item's tile lies: its first position, rows and columns, and the number of flat indices.
<%def name="locate_tile(index)">\
    const int first_row = (${index}) / tiles1 * tile_rows, first_column = (${index}) % tiles1 * tile_columns;
    const int rows = min((int)tile_rows, (int)positions0 - first_row);
    const int columns = min((int)tile_columns, (int)positions1 - first_column);
    const int count = (rows - 1) * pitch + columns, lines = ((rows - 1) * ${scale[0]} + ${(kernel[0] - 1) * step[0]}) / ${phases[0]} + 1;
    const int y0 = first_row * ${scale[0]} + (${origin[0]}), x0 = first_column * ${scale[1]} + (${origin[1]});
</%def>

## Zeros in all of the planes: what lies outside the image stays so, as long as the tile is the same.
<%def name="clear(count)">\
    for (int i = 0; i < ${count}; i += ${lanes}) *(__local ${T}${lanes} *)(planes + i) = (${T}${lanes})(0);
</%def>

## Pack what the tile sees of the channel at `source` to `target`, which holds zeros elsewhere.
<%def name="pack_channel(source, target)">\
% for p0 in range(phases[0]):
% for p1 in range(phases[1]):
      {
        // Lines and elements that lie within the image.
        const int y = y0 + ${p0}, x = x0 + ${p1};
        const int line_low = clamp((${phases[0] - 1} - y) / ${phases[0]}, 0, lines);
        const int line_high = clamp(((int)size0 - y + ${phases[0] - 1}) / ${phases[0]}, line_low, lines);
        const int low = clamp((${phases[1] - 1} - x) / ${phases[1]}, 0, (int)pitch);
        const int high = clamp(((int)size1 - x + ${phases[1] - 1}) / ${phases[1]}, low, (int)pitch);
        for (int line = line_low; line < line_high; ++line) {
          __local ${T} *const to = ${target} + ${plane(p0, p1)} + line * pitch;
          __global const ${expr.dtypes.describe(storage).storage} *const from = ${source} + ((index_t)(y + line * ${phases[0]}) * size1 + x);
          int i = low;
${copy("high", lambda at, width: f"vstore{width}({from_image(at, width)}, 0, to + {at});", lambda at: f"to[{at}] = {expr.load(storage, 'from', f'{at} * {phases[1]}')};", vectors=phases[1] <= 2, margin=phases[1] - 1)}
        }
      }
% endfor
% endfor
</%def>

## `width` elements of a row of the image, a stride apart.
<%def name="from_image(at, width)" buffered="True" filter="trim">
% if phases[1] == 1:
${expr.load(storage, "from", at, width)}
% else:
(${T}${width})(${expr.load(storage, "from", f"{at} * 2", width)}.even, ${expr.load(storage, "from", f"{at} * 2 + {width}", width)}.even)
% endif
</%def>

## Copy the elements from `i` to `end` of a row. The last vector overlaps the one before it. Vectors stay
## `margin` elements away from the end.
<%def name="copy(end, vector, scalar, vectors=True, margin=0)">\
% if vectors and piece > 1:
            if (${end} - i >= ${piece + margin}) {
              for (; i + ${piece + margin} <= ${end}; i += ${piece})
                ${vector("i", piece)}
              if (i < ${end} - ${margin}) {
                i = ${end} - ${piece + margin};
                ${vector("i", piece)}
                i += ${piece};
              }
            }
% endif
            for (; i < ${end}; ++i)
              ${scalar("i")}
</%def>
