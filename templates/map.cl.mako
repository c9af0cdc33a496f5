## Elementwise kernel: y[p] = f(x0[p], x1[p], ..., c0, ...) at each position p of an iteration space.
##
## Layout: operands are addressed by strides over the merged axes; the innermost axis is cut into blocks
##   of WIDTH elements (vector loads where its stride is 1, a splat where it is 0, gathers elsewhere),
##   and what is left of a row runs through the scalar body. With STREAMS, vectors are stored past the caches;
##   with ALIGNED, rows begin by as many scalars as it takes for that.
## CPU shape: each work-item takes one contiguous range of blocks and loops over it.
## GPU shape: neighbouring work-items take neighbouring blocks, in a grid-stride loop.
## Assumes: outputs do not overlap inputs, unless position by position.
## Tunables: width, and the number of work-items (clgrad/kernels/map.py).
<%namespace name="common" file="common.mako"/>\
${common.prologue(signature, helpers)}
% if streams:
${common.streaming()}
% endif
__kernel void ${name}(
    ${signature})
{
  ${common.shift(accesses)}
  const index_t row_blocks = (columns + ${width - 1}) / ${width};
  const index_t blocks = rows * row_blocks;
% if shape == "cpu":
  const index_t share = (blocks + get_global_size(0) - 1) / get_global_size(0);
  const index_t start = (index_t)get_global_id(0) * share, row = start / row_blocks;
  index_t left = min(share, blocks - start), first = start - row * row_blocks;
  ${common.decode("row", outer_sizes, "i", "index_t")}
  while (left > 0) {
    index_t column = first * ${width};
% else:
  for (index_t block = get_global_id(0); block < blocks; block += get_global_size(0)) {
    const index_t row = block / row_blocks;
    index_t column = (block - row * row_blocks) * ${width};
    ${common.decode("row", outer_sizes, "i")}
% endif
% for access in accesses:
    const index_t ${access.name}_row = ${access.row([f"i{a}" for a in range(len(outer_sizes))])};
% endfor
% if shape == "cpu":
    const index_t stop = min(columns, min(row_blocks, first + left) * ${width});
% else:
    const index_t stop = min(columns, column + ${width});
% endif
% for line in row_body:
    ${line}
% endfor
% if aligned:
    const size_t lanes_before = ((size_t)0 - (size_t)(y0 + (y0_row + column))) / sizeof(*y0) & ${width - 1};
    index_t scalars = min(stop, column + (index_t)lanes_before);
    do {  // up to where vectors are aligned, and what is left behind them
      ${each_scalar("scalars")}
      ${each_vector()}
      scalars = stop;
    } while (column < stop);
% else:
% if width > 1:
    ${each_vector()}
% endif
    ${each_scalar("stop")}
% endif
% if shape == "cpu":
    left -= row_blocks - first;
    first = 0;
    ${common.advance(outer_sizes, "i")}
% endif
  }
% if streams:
  ${common.streamed()}
% endif
}
<%def name="each_vector()">\
for (; column + ${width} <= stop; column += ${width}) {
% for line in vector_body:
      ${line}
% endfor
    }\
</%def>\
<%def name="each_scalar(end)">\
for (; column < ${end}; ++column) {
% for line in scalar_body:
      ${line}
% endfor
    }\
</%def>\
