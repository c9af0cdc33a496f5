## One formula over many groups of arrays: y[e] = f(x0[e], x1[e], ..., c0, ...) at each element e of each.
##
## Layout: the arrays of a group are contiguous and of one size. Elements are cut into blocks of WIDTH, and the
##   blocks of all groups are numbered through.
## CPU shape: a work-item takes one range of blocks. GPU shape: work-items take blocks in turn, and go on in the
##   next group where they left off, so that many small groups keep all of them busy.
## Assumes: outputs do not overlap inputs, unless element by element.
## Tunables: width, and the number of work-items (clgrad/kernels/groups.py).
<%namespace name="common" file="common.mako"/>\
${common.prologue(k.signature, helpers)}
inline void ${k.name}_group(
    index_t block, const index_t last, const index_t stride, const index_t size,
    ${k.parameters()})
{
  for (; block < last; block += stride) {
    index_t i = block * ${width};
    const index_t stop = min(size, i + ${width});
% if width > 1:
    if (i + ${width} <= size) {
% for line in vector_body:
      ${line}
% endfor
      continue;
    }
% endif
    for (; i < stop; ++i) {
% for line in scalar_body:
      ${line}
% endfor
    }
  }
}

__kernel void ${k.name}(
    ${k.signature})
{
  const index_t items = get_global_size(0), item = get_global_id(0);
  index_t begin = 0;  // number of the group's first block
% if k.device.kind == "cpu":
  const index_t total = ${" + ".join(f"(g{g}_size + {width - 1}) / {width}" for g in range(len(k.members)))};
  const index_t share = (total + items - 1) / items, mine = item * share;
% endif
% for g in range(len(k.members)):
  {
    const index_t blocks = (g${g}_size + ${width - 1}) / ${width};
% if k.device.kind == "cpu":
    const index_t first = max((index_t)0, mine - begin), last = min(blocks, mine + share - begin), stride = 1;
% else:
    const index_t first = (item + items - begin % items) % items, last = blocks, stride = items;
% endif
    ${k.name}_group(first, last, stride, g${g}_size, ${k.arguments(g)});
    begin += blocks;
  }
% endfor
}
