## Sorting along one axis: each (outer, inner) of data is a row of n elements, inner apart. KERNEL is one of
##
##     list    sort a block by insertion into a list of KEEP items, and keep that
##     radix   sort a block digit by digit of its keys, from the last one, and keep its first items
##     block   the same by a bitonic network in local memory
##     merge   merge neighbouring sorted runs in pairs, and keep the first items of each pair
##
## Items: an element is sorted as the item (code, index). The code is a whole number that orders as the
##   elements do, NaN being the largest and -0 equal to 0; descending order sorts its complement. Since no
##   two items are equal, every method is stable: ties keep the order of their indices.
##   Codes of up to 32 bits and the index share a ulong, those of 64 bits make a ulong2.
## Layout: data and results are (outer, n or kept, inner) in C order; items that are still to be sorted or
##   merged are (row, count), in runs of the same length, the last of a row perhaps shorter.
## Result: the last launch emits values (bits copied from data), indices, or ones into a cleared mask.
## list, radix (CPU shape): a work-item takes a contiguous range of blocks; radix has memory of its own in
##   `work`, two buffers of one block. A full list of contiguous elements skips vectors of SKIPS that hold none
##   to come before its last item: an element that equals it does not, being behind it. NaN is looked at.
## block (GPU shape): a work-group has ITEMS items in local memory, SEGMENTS rows or blocks of SEGMENT.
## merge (both): TILE results for each unit, found by where the run of results crosses the two inputs
##   ("merge path": Odeh, Green et al. 2012; Deo & Sarkar 1991), so long rows are shared by all work-items.
## Sources: Knuth, "The Art of Computer Programming" 3, 5.2.5 (radix); Batcher 1968 (bitonic).
## Assumes: full work-groups in block; n below 2^31.
## Tunables: KEEP, SKIPS, ITEMS, TEAM, TILE, and the number of blocks (clgrad/kernels/sort.py).
<%namespace name="common" file="common.mako"/>\
<%
bytes_ = s.dtype.itemsize
bits = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}[bytes_]
wide = bytes_ == 8
code = "ulong" if wide else "uint"
suffix = "UL" if wide else "u"
kind = expr.dtypes.c_type(expr.dtypes.compute_type(s.dtype))
sign = f"{1 << (8 * bytes_ - 1):#x}{suffix}"
ones = f"{(1 << 8 * bytes_) - 1:#x}{suffix}"
infinity = f"{s.infinity:#x}{suffix}" if s.infinity else None
%>\
${common.prologue(s.signature, [])}
typedef ${"ulong2" if wide else "ulong"} item_t;

// Behind every item: what fills a segment up.
#define LAST_ITEM ((item_t)(ULONG_MAX))

inline bool before(const item_t a, const item_t b) {
% if wide:
  return a.x < b.x || (a.x == b.x && a.y < b.y);
% else:
  return a < b;
% endif
}

inline uint index_of(const item_t item) { return (uint)item${".y" if wide else ""}; }

inline item_t item_of(const ${code} key, const uint index) {
% if s.infinity:
  const ${code} magnitude = key & ${f"{(1 << (8 * bytes_ - 1)) - 1:#x}{suffix}"};
  ${code} code = (key & ${sign}) ? ~key & ${ones} : key | ${sign};
  if (magnitude > ${infinity}) code = ${ones};
  if (magnitude == 0) code = ${sign};
% elif s.signed:
  ${code} code = key ^ ${sign};
% else:
  ${code} code = key;
% endif
% if not s.ascending:
  code = ~code & ${ones};
% endif
% if wide:
  return (ulong2)(code, index);
% else:
  return (ulong)code << 32 | index;
% endif
}
<%def name="rows(row)">\
% if not s.encoded or s.final:
const index_t row_outer = ${row} / inner, row_inner = ${row} - row_outer * inner;
% endif
% if s.encoded:
    __global const item_t *row_items = items + ${row} * count;
% endif
% if not s.encoded or s.final:
    const index_t row_data = row_outer * n * inner + row_inner;
% endif
</%def>\
<%def name="item(position)">\
% if s.encoded:
row_items[${position}]\
% else:
item_of(keys[row_data + (${position}) * inner], (uint)(${position}))\
% endif
</%def>\
## The item at a position of the result of this launch: of the run that begins at `start`.
<%def name="put(row, start, position, item)">\
% if s.final:
{
        const index_t index = (index_t)index_of(${item});
        const index_t target = (row_outer * kept + ${position}) * inner + row_inner;
% if s.values:
        values[target] = keys[row_data + index * inner];
% endif
% if s.indices:
        ${expr.store(s.indices, "(int)index", expr.dtypes.int32, "indices", "target")}
% endif
% if s.mask:
        mask[row_data + index * inner] = (${bits})${s.one};
% endif
      }
% else:
out[${row} * out_count + ${start} + ${position}] = ${item};
% endif
</%def>\
## Puts the item at `position` into the list, if it comes before the last one.
<%def name="insert()">\
      const item_t item = ${item("position")};
      if (filled == ${s.keep} && !before(item, list[${s.keep - 1}])) continue;
      int place = filled < ${s.keep} ? filled++ : ${s.keep - 1};
      for (; place > 0 && before(item, list[place - 1]); --place) list[place] = list[place - 1];
      list[place] = item;
</%def>\
% if kernel == "block":
__attribute__((reqd_work_group_size(${s.team}, 1, 1)))
% endif
__kernel void ${name}(
    ${s.signature})
{
% if not s.encoded or (s.final and s.values):
  __global const ${bits} *keys = (__global const ${bits} *)data + data_offset;
% endif
% if s.encoded:
  __global const item_t *items = (__global const item_t *)items_in + items_in_offset;
% endif
% if s.final:
% for array in [a for a, wanted in (("indices", s.indices),) if wanted]:
  ${array} += ${array}_offset;
% endfor
% for array in [a for a, wanted in (("values", s.values), ("mask", s.mask)) if wanted]:
  __global ${bits} *${array} = (__global ${bits} *)${array}_out + ${array}_out_offset;
% endfor
% else:
  __global item_t *out = (__global item_t *)items_out + items_out_offset;
% endif
% if kernel == "merge":
  const index_t units = rows * pairs * tiles;
  for (index_t unit = get_global_id(0); unit < units; unit += get_global_size(0)) {
    const index_t row = unit / (pairs * tiles), rest = unit - row * (pairs * tiles);
    const index_t pair = rest / tiles, tile = rest - pair * tiles;
    ${rows("row")}
    const index_t start = pair * 2 * run;
    const index_t a_size = min(run, count - start), b_size = clamp(count - start - run, (index_t)0, run);
    const index_t first = tile * ${s.tile};
    const index_t last = min(min(a_size + b_size, out_run), first + ${s.tile});
    if (first >= last) continue;
    __global const item_t *a = row_items + start, *b = a + run;
    // How many of the first results come from a.
    index_t low = max((index_t)0, first - b_size), high = min(first, a_size);
    while (low < high) {
      const index_t middle = (low + high) / 2;
      if (before(a[middle], b[first - 1 - middle])) low = middle + 1;
      else high = middle;
    }
    index_t i = low, j = first - low;
    for (index_t position = first; position < last; ++position) {
      const bool from_a = j >= b_size || (i < a_size && before(a[i], b[j]));
      const item_t next = from_a ? a[i] : b[j];
      if (from_a) ++i;
      else ++j;
      ${put("row", "pair * out_run", "position", "next")}
    }
  }
% elif kernel == "block":
  __local item_t shared[${s.items}];
  const int member = get_local_id(0);
  const index_t units = rows * blocks;
  const index_t first_unit = get_group_id(0) * ${s.segments};
  for (int place = member; place < ${s.items}; place += ${s.team}) {
    // Neighbours read neighbouring addresses: of one row, or of rows side by side.
    const int segment = (inner > 1) ? place % ${s.segments} : place / ${s.segment};
    const int within = (inner > 1) ? place / ${s.segments} : place % ${s.segment};
    const index_t unit = first_unit + segment;
    item_t item = LAST_ITEM;
    if (unit < units) {
      const index_t row = unit / blocks, position = (unit - row * blocks) * ${s.segment} + within;
      ${rows("row")}
      if (position < count) item = ${item("position")};
    }
    shared[segment * ${s.segment} + within] = item;
  }
  for (int size = 2; size <= ${s.segment}; size <<= 1) {
    for (int stride = size >> 1; stride > 0; stride >>= 1) {
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int pair = member; pair < ${s.items // 2}; pair += ${s.team}) {
        const int low = 2 * pair - (pair & (stride - 1));
        const item_t x = shared[low], y = shared[low + stride];
        const bool rising = (low & (${s.segment - 1}) & size) == 0;
        if (before(y, x) == rising) {
          shared[low] = y;
          shared[low + stride] = x;
        }
      }
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int place = member; place < ${s.items}; place += ${s.team}) {
    const int segment = (inner > 1) ? place % ${s.segments} : place / ${s.segment};
    const int within = (inner > 1) ? place / ${s.segments} : place % ${s.segment};
    const index_t unit = first_unit + segment;
    if (unit < units && within < out_run) {
      const index_t row = unit / blocks, block = unit - row * blocks;
      if (within < count - block * ${s.segment}) {
        ${rows("row")}
        const item_t item = shared[segment * ${s.segment} + within];
        ${put("row", "block * out_run", "within", "item")}
      }
    }
  }
% else:
  const index_t units = rows * blocks;
  const index_t share = (units + get_global_size(0) - 1) / get_global_size(0);
  const index_t first_unit = get_global_id(0) * share;
% if kernel == "radix":
  __global item_t *own = (__global item_t *)work + work_offset + get_global_id(0) * 2 * block_size;
% endif
  for (index_t unit = first_unit; unit < min(units, first_unit + share); ++unit) {
    const index_t row = unit / blocks, block = unit - row * blocks;
    ${rows("row")}
    const index_t start = block * block_size, length = min(block_size, count - start);
% if kernel == "list":
    item_t list[${s.keep}];
    int filled = 0;
% if s.skips:
    for (index_t position = start; position < start + length;) {
      if (filled == ${s.keep}) {
        const ${kind} last = ${expr.load(s.dtype, "data", f"data_offset + row_data + index_of(list[{s.keep - 1}])")};
        for (; position + ${s.skips} <= start + length; position += ${s.skips}) {
          const ${kind}${s.skips} next = ${expr.load(s.dtype, "data", "data_offset + row_data + position", s.skips)};
          if (any(${"~(next >= last)" if s.ascending else "~(next <= last)"})) break;
        }
      }
      const index_t stop = min(start + length, position + ${s.skips});
      for (; position < stop; ++position) {
        ${insert()}
      }
    }
% else:
    for (index_t position = start; position < start + length; ++position) {
      ${insert()}
    }
% endif
    for (int place = 0; place < filled; ++place) {
      const item_t item = list[place];
      ${put("row", "block * out_run", "place", "item")}
    }
% else:
    __global item_t *from = own, *to = own + block_size;
    for (index_t place = 0; place < length; ++place) {
      const index_t position = start + place;
      from[place] = ${item("position")};
    }
    for (int digit = 0; digit < ${8 * bytes_}; digit += 8) {
      uint counts[256];
      for (int d = 0; d < 256; ++d) counts[d] = 0;
      for (index_t place = 0; place < length; ++place) ++counts[${"from[place].x >> digit" if wide else "from[place] >> (32 + digit)"} & 255];
      if (counts[${"from[0].x >> digit" if wide else "from[0] >> (32 + digit)"} & 255] == (uint)length) continue;
      uint sum = 0;
      for (int d = 0; d < 256; ++d) {
        const uint here = counts[d];
        counts[d] = sum;
        sum += here;
      }
      for (index_t place = 0; place < length; ++place) {
        const item_t item = from[place];
        to[counts[${"item.x >> digit" if wide else "item >> (32 + digit)"} & 255]++] = item;
      }
      __global item_t *swapped = from;
      from = to;
      to = swapped;
    }
    for (index_t place = 0; place < min(length, out_run); ++place) {
      const item_t item = from[place];
      ${put("row", "block * out_run", "place", "item")}
    }
% endif
  }
% endif
}
