## Shared pieces of the kernel templates.

<%def name="prologue(signature, helpers)">\
typedef ${signature.index_type} index_t;
<%
ours = expr.ELEMENTARY
%>\
<%include file="elementary.cl.mako" args="functions=[h for h in helpers if h[0] in ours]"/>\
<%include file="functions.cl.mako" args="helpers=[h for h in helpers if h[0] not in ours]"/>\
</%def>

## Coordinates c0, c1, ... of the outer axes from the C variable `row`, last axis fastest.
<%def name="decode(row, sizes, prefix, kind='const index_t')">\
% if sizes:
index_t ${prefix}_rest = ${row};
% for axis in range(len(sizes) - 1, 0, -1):
    ${kind} ${prefix}${axis} = ${prefix}_rest % ${sizes[axis]};
    ${prefix}_rest /= ${sizes[axis]};
% endfor
    ${kind} ${prefix}0 = ${prefix}_rest;
% endif
</%def>

## The coordinates of the next row: no division.
<%def name="advance(sizes, prefix)">\
% if sizes:
++${prefix}${len(sizes) - 1};
% for axis in range(len(sizes) - 1, 0, -1):
    if (${prefix}${axis} == ${sizes[axis]}) {
      ${prefix}${axis} = 0;
      ++${prefix}${axis - 1};
    }
% endfor
% endif
</%def>

## Moves each array's pointer to its first element, in 64 bits whatever index_t is.
<%def name="shift(accesses)">\
% for access in accesses:
% if access.operand.dtype is not None:
  ${access.name} += ${access.name}_offset;
% endif
% endfor
</%def>

## STREAM(kind, width, value, at): vstore that leaves the caches as they are, where the compiler has such a
## store and the address is aligned to the vector, as those of whole arrays are. Such stores are ordered
## with nothing but a fence, which streamed() puts behind the last of them.
<%def name="streaming()">\
#ifdef __has_builtin
#if __has_builtin(__builtin_nontemporal_store)
#define ALIGNED(kind, at) (((size_t)(at) & (sizeof(kind) - 1)) == 0)
#define STREAM_ALIGNED(kind, value, at) __builtin_nontemporal_store(value, (__global kind *)(at))
#define STREAM(kind, width, value, at) \
if (ALIGNED(kind##width, at)) STREAM_ALIGNED(kind##width, value, at); else vstore##width(value, 0, at)
#endif
#endif
#ifndef STREAM
#define STREAM(kind, width, value, at) vstore##width(value, 0, at)
#endif
</%def>

<%def name="streamed()">\
mem_fence(CLK_GLOBAL_MEM_FENCE);
</%def>
