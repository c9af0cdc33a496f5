## Shared pieces of the kernel templates.

<%def name="prologue(signature, helpers)">\
typedef ${signature.index_type} index_t;
<%include file="functions.cl.mako" args="helpers=helpers"/>\
</%def>

## Coordinates c0, c1, ... of the outer axes from the C variable `row`, last axis fastest.
<%def name="decode(row, sizes, prefix)">\
% if sizes:
index_t ${prefix}_rest = ${row};
% for axis in range(len(sizes) - 1, 0, -1):
    const index_t ${prefix}${axis} = ${prefix}_rest % ${sizes[axis]};
    ${prefix}_rest /= ${sizes[axis]};
% endfor
    const index_t ${prefix}0 = ${prefix}_rest;
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
