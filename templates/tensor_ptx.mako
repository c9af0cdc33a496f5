## The instructions of NVIDIA's tensor cores, as inline PTX. tensor_standin.mako has the same pieces for
## devices without them; matmul_tensor.cl.mako is made of either.
##
## A warp is 32 work-items, consecutive in the work-group; `lane` is the place in it. What each lane holds of a
## matrix (a fragment) is given by tables of the PTX ISA, "Warp Level Matrix Instructions": for mma with shapes
## m16n8k16 (f16, bf16) and m16n8k8 (tf32), and for ldmatrix. All need sm_80.
##
## Inline assembly is volatile: every lane of a warp has to execute it, whatever becomes of the result.

## Needs `kind`: f16, bf16 or tf32.
<%def name="functions()">\
// c + a b: the products of 16 x 16 (tf32: 16 x 8) by 16 x 8 (8 x 8) numbers, summed as float.
float4 mma(const uint4 a, const uint2 b, const float4 c) {
  float x = c.x, y = c.y, z = c.z, w = c.w;
  asm volatile("mma.sync.aligned.m16n8k${8 if kind == "tf32" else 16}.row.col.f32.${kind}.${kind}.f32 "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(x), "+f"(y), "+f"(z), "+f"(w)
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
  return (float4)(x, y, z, w);
}
% for suffix, modifier in (("", ""), ("_turned", ".trans")):
// Four matrices of 8 rows of 16 bytes: lane 8 i + r says where row r of matrix i lies.
uint4 ldmatrix${suffix}(__local const uint4 *from) {
  uint x, y, z, w;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4${modifier}.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x), "=r"(y), "=r"(z), "=r"(w) : "r"((uint)(size_t)from) : "memory");
  return (uint4)(x, y, z, w);
}
% endfor
// The nearest number of 10 bits behind the point, away from zero where two are as near.
uint round_tf32(const uint bits) {
  uint rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(as_float(bits)));
  return rounded;
}
% for width in (4, 8, 16):
// Begins to copy ${width} bytes, both ends of which are aligned; or puts zeros there, and reads nothing. (cp.async
// could do that by itself, given how many bytes to read, but this takes it six instructions more.)
<% zeros = {4: ".b32 [%0], %3", 8: ".v2.b32 [%0], {%3, %3}", 16: ".v4.b32 [%0], {%3, %3, %3, %3}"}[width] %>\
void copy${width}(__local const uint *to, __global const void *from, const int inside) {
  asm volatile("{ .reg .pred %%inside; setp.ne.s32 %%inside, %2, 0; "
               "@%%inside cp.async.${"cg" if width == 16 else "ca"}.shared.global [%0], [%1], ${width}; "
               "@!%%inside st.shared${zeros}; }"
               : : "r"((uint)(size_t)to), "l"((ulong)from), "r"(inside), "r"(0) : "memory");
}
% endfor
</%def>

## What the kernel declares.
<%def name="declarations()"></%def>

## `slab[at]` is a lane's row; `target` is declared and gets the fragments.
<%def name="ldmatrix(target, slab, at, turned)">\
  const uint4 ${target} = ldmatrix${"_turned" if turned else ""}(${slab} + (${at}));
</%def>

<%def name="mma(c, a, b)">\
  ${c} = mma(${a}, ${b}, ${c});
</%def>

## To piece `piece` of slab[at], `width` bytes wide; zeros where the C expression `inside` is false.
<%def name="copy(slab, at, piece, width, source, inside)">\
  copy${width}((__local const uint *)(${slab} + (${at}))${f" + {piece * width // 4}" if piece else ""}, ${source}, ${inside});
</%def>

## Ends a group of copies.
<%def name="commit()">\
  asm volatile("cp.async.commit_group;" : : : "memory");
</%def>

## Waits until at most `pending` groups of this work-item's copies are on their way.
<%def name="wait(pending)">\
  asm volatile("cp.async.wait_group ${pending};" : : : "memory");
</%def>
