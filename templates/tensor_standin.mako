## What tensor_ptx.mako has, in OpenCL C: for tests of matmul_tensor.cl.mako on devices without tensor cores.
##
## Lanes exchange what they hold through local memory, by the tables of the PTX ISA, each read the other way
## round: from an element to the lane and the register that hold it. (tests/test_kernels_tensor_gpu.py holds mma and
## ldmatrix against the tables as they are printed.)
##
## Copies are as late as the ISA allows, or as early: `late` ones are noted down, and made by the wait that
## must not return before; early ones are made at once. Who reads before the wait sees the one, and who writes
## where others still read the other. A copy whose ends are not aligned, which is an error on a GPU, writes
## what no product is made of.
##
## Needs `kind`, `group`, `late`, `stages`, and `copies`: how many a work-item begins for one slab, at most.

<%def name="functions()">\
__attribute__((noinline)) float exchanged(__local const uint *words, const int lane, const int place, const int upper) {
% if kind == "tf32":
  return as_float(words[lane * 6 + place] & 0xffffe000u);
% elif kind == "bf16":
  return as_float((words[lane * 6 + place] >> (16 * upper)) << 16);
% else:
  return vload_half((lane * 6 + place) * 2 + upper, (__local const half *)words);
% endif
}
__attribute__((noinline)) float4 mma(__local const uint *words, const int lane, const float4 c) {
  float sums[4] = {c.x, c.y, c.z, c.w};
  for (int e = 0; e < 4; ++e) {
    const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
% if kind == "tf32":
    for (int k = 0; k < 8; ++k)
      sums[e] += exchanged(words, row % 8 * 4 + k % 4, row / 8 + k / 4 * 2, 0) *
                 exchanged(words, column * 4 + k % 4, 4 + k / 4, 0);
% else:
    for (int k = 0; k < 16; ++k)
      sums[e] += exchanged(words, row % 8 * 4 + k % 8 / 2, row / 8 + k / 8 * 2, k % 2) *
                 exchanged(words, column * 4 + k % 8 / 2, 4 + k / 8, k % 2);
% endif
  }
  return (float4)(sums[0], sums[1], sums[2], sums[3]);
}
__attribute__((noinline)) uint4 ldmatrix(__local const uint4 *slab, __local const int *rows, const int lane) {
  uint found[4];
  for (int i = 0; i < 4; ++i)
    found[i] = ((__local const uint *)(slab + rows[8 * i + lane / 4]))[lane % 4];
  return (uint4)(found[0], found[1], found[2], found[3]);
}
__attribute__((noinline)) uint4 ldmatrix_turned(__local const uint4 *slab, __local const int *rows, const int lane) {
  uint found[4];
  for (int i = 0; i < 4; ++i) {
    const uint low = ((__local const ushort *)(slab + rows[8 * i + lane % 4 * 2]))[lane / 4];
    const uint high = ((__local const ushort *)(slab + rows[8 * i + lane % 4 * 2 + 1]))[lane / 4];
    found[i] = low | high << 16;
  }
  return (uint4)(found[0], found[1], found[2], found[3]);
}
uint round_tf32(const uint bits) {
  return isnan(as_float(bits)) ? 0x7fffffffu : (bits + 0x1000u) & 0xffffe000u;
}
__attribute__((noinline)) void copy(__local uchar *to, __global const uchar *from, const int width, const int inside) {
  const bool aligned = (size_t)to % width == 0 && (size_t)from % width == 0;
  for (int i = 0; i < width; ++i) to[i] = !inside ? 0 : aligned ? from[i] : 0x7f;
}
</%def>

<%def name="declarations()">\
  __local uint exchange[${group * 6}];
  __local int exchanged_rows[${group}];
% if late and copies:
  __local uchar *copy_to[${stages * copies}];
  __global const uchar *copy_from[${stages * copies}];
  int copy_width[${stages * copies}], copy_inside[${stages * copies}];
  int copies_of[${stages}];
  for (int i = 0; i < ${stages}; ++i) copies_of[i] = 0;
  int groups = 0, groups_made = 0;
% endif
</%def>

<%def name="ldmatrix(target, slab, at, turned)">\
  exchanged_rows[item] = ${at};
  barrier(CLK_LOCAL_MEM_FENCE);
  const uint4 ${target} = ldmatrix${"_turned" if turned else ""}(${slab}, exchanged_rows + item / 32 * 32, lane);
  barrier(CLK_LOCAL_MEM_FENCE);
</%def>

<%def name="mma(c, a, b)">\
  vstore4(${a}, 0, exchange + item * 6);
  vstore2(${b}, 0, exchange + item * 6 + 4);
  barrier(CLK_LOCAL_MEM_FENCE);
  ${c} = mma(exchange + item / 32 * 192, lane, ${c});
  barrier(CLK_LOCAL_MEM_FENCE);
</%def>

<%def name="copy(slab, at, piece, width, source, inside)">\
<% to, source = f"(__local uchar *)({slab} + ({at})) + {piece * width}", f"(__global const uchar *)({source})" %>\
% if late:
  {
    const int place = groups % ${stages} * ${copies} + copies_of[groups % ${stages}]++;
    copy_to[place] = ${to};
    copy_from[place] = ${source};
    copy_width[place] = ${width};
    copy_inside[place] = ${inside};
  }
% else:
  copy(${to}, ${source}, ${width}, ${inside});
% endif
</%def>

<%def name="commit()">\
% if late and copies:
  ++groups;
% endif
</%def>

<%def name="wait(pending)">\
% if late and copies:
  for (; groups_made < groups - ${pending}; ++groups_made) {
    const int made = groups_made % ${stages};
    for (int i = made * ${copies}; i < made * ${copies} + copies_of[made]; ++i)
      copy(copy_to[i], copy_from[i], copy_width[i], copy_inside[i]);
    copies_of[made] = 0;
  }
% endif
</%def>
