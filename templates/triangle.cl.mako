## A triangle of each matrix of a stack to a vector, or back (zeros outside of it). A lower triangle is
## packed row after row, an upper one column after column, as MXNet does: element (i, j) is at
## h (h + 1) / 2 + l, h and l the larger and the smaller of i and j.
##
## Layout: matrices [batch][n][n], vectors [batch][size (size + 1) / 2], C order. The triangle has `size`
##   rows; it begins at row `top` and column `left` of the matrix.
## Both shapes: a work-item takes every so-manieth row of the matrices.
## Assumes: nothing overlaps. No tunables.
<%namespace name="common" file="common.mako"/>\
${common.prologue(signature, [])}
__kernel void ${name}(
    ${signature})
{
  x += x_offset;
  y += y_offset;

% if pack:
  const index_t rows = batch * size;
% else:
  const index_t rows = batch * n;
% endif
  for (index_t r = get_global_id(0); r < rows; r += get_global_size(0)) {
% if pack:
    const index_t matrix = r / size, i = r - matrix * size;
% else:
    const index_t matrix = r / n, i = r - matrix * n - top;
% endif
    const index_t vector = matrix * (size * (size + 1) / 2);
    const index_t row = (matrix * n + i + top) * n + left;
% if lower:
    const index_t first = 0, last = i + 1;
% else:
    const index_t first = i, last = size;
% endif
<% place = "vector + i * (i + 1) / 2 + j" if lower else "vector + j * (j + 1) / 2 + i" %>\
% if pack:
    for (index_t j = first; j < last; ++j) y[${place}] = x[row + j];
% else:
    for (index_t j = -left; j < n - left; ++j) {
      const bool inside = i >= 0 && i < size && j >= first && j < last;
      ${T} value = 0;
      if (inside) value = x[${place}];
      y[row + j] = value;
    }
% endif
  }
}
