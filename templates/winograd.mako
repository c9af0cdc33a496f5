## One-dimensional transforms of F(4, 3), 4 outputs of a kernel of 3 taps by 6 products, at the points 0, +-A,
## +-B and infinity; and of F(3, 4), the gradients of the 3 taps from 4 elements of the output's gradient, at
## the same points. Each takes the names of its operands, and gives statements and the results' expressions.
<%!
A, B = 0.75, 1.5
AA, BB = A * A, B * B


def number(value):
    return f"{value!r}f"


def of_data(d, name):
    """6 elements of the data at the points."""
    statements = [
        f"{name}_p = {d[4]} - {number(BB)} * {d[2]}",
        f"{name}_q = {number(A)} * ({d[3]} - {number(BB)} * {d[1]})",
        f"{name}_r = {d[4]} - {number(AA)} * {d[2]}",
        f"{name}_s = {number(B)} * ({d[3]} - {number(AA)} * {d[1]})",
    ]
    return statements, [
        f"{number(AA * BB)} * {d[0]} - {number(AA + BB)} * {d[2]} + {d[4]}",
        f"{name}_p + {name}_q",
        f"{name}_p - {name}_q",
        f"{name}_r + {name}_s",
        f"{name}_r - {name}_s",
        f"{d[5]} - {number(AA + BB)} * {d[3]} + {number(AA * BB)} * {d[1]}",
    ]


def of_weight(g, name):
    """The kernel at the points, by the weights of interpolation."""
    a, b = 1 / (2 * AA * (AA - BB)), 1 / (2 * BB * (BB - AA))
    statements = [
        f"{name}_p = {number(a)} * ({g[0]} + {number(AA)} * {g[2]})",
        f"{name}_q = {number(a * A)} * {g[1]}",
        f"{name}_r = {number(b)} * ({g[0]} + {number(BB)} * {g[2]})",
        f"{name}_s = {number(b * B)} * {g[1]}",
    ]
    return statements, [
        f"{number(1 / (AA * BB))} * {g[0]}",
        f"{name}_p + {name}_q",
        f"{name}_p - {name}_q",
        f"{name}_r + {name}_s",
        f"{name}_r - {name}_s",
        f"{g[2]}",
    ]


def of_head(h, name):
    """4 elements of an output's gradient at the points, by the weights of interpolation."""
    a, b = 1 / (2 * AA * (AA - BB)), 1 / (2 * BB * (BB - AA))
    statements = [
        f"{name}_p = {number(a)} * ({h[0]} + {number(AA)} * {h[2]})",
        f"{name}_q = {number(a * A)} * ({h[1]} + {number(AA)} * {h[3]})",
        f"{name}_r = {number(b)} * ({h[0]} + {number(BB)} * {h[2]})",
        f"{name}_s = {number(b * B)} * ({h[1]} + {number(BB)} * {h[3]})",
    ]
    return statements, [
        f"{number(1 / (AA * BB))} * {h[0]}",
        f"{name}_p + {name}_q",
        f"{name}_p - {name}_q",
        f"{name}_r + {name}_s",
        f"{name}_r - {name}_s",
        f"{h[3]}",
    ]


def of_gradient(m, name):
    """The gradients of 3 taps from the products at the points."""
    statements = [
        f"{name}_p = {m[1]} + {m[2]}",
        f"{name}_q = {m[1]} - {m[2]}",
        f"{name}_r = {m[3]} + {m[4]}",
        f"{name}_s = {m[3]} - {m[4]}",
    ]
    return statements, [
        f"{m[0]} + {name}_p + {name}_r",
        f"{number(A)} * {name}_q + {number(B)} * {name}_s",
        f"{number(AA)} * {name}_p + {number(BB)} * {name}_r + {m[5]}",
    ]


def of_product(m, name):
    """4 outputs from the products at the points."""
    statements = [
        f"{name}_p = {m[1]} + {m[2]}",
        f"{name}_q = {m[1]} - {m[2]}",
        f"{name}_r = {m[3]} + {m[4]}",
        f"{name}_s = {m[3]} - {m[4]}",
    ]
    return statements, [
        f"{m[0]} + {name}_p + {name}_r",
        f"{number(A)} * {name}_q + {number(B)} * {name}_s",
        f"{number(AA)} * {name}_p + {number(BB)} * {name}_r",
        f"{number(A**3)} * {name}_q + {number(B**3)} * {name}_s + {m[5]}",
    ]


TRANSFORMS = {
    "data": of_data,
    "weight": of_weight,
    "product": of_product,
    "head": of_head,
    "gradient": of_gradient,
}
%>
## Transform a block whose element (i, j) the C variable x{i}_{j} holds, `size` by `size`: rows, then columns.
## The results are y{i}_{j}.
<%def name="transform(kind, size, TV)">\
<% columns = 0 %>\
% for i in range(size):
<% statements, results = TRANSFORMS[kind]([f"x{i}_{j}" for j in range(size)], f"row{i}") %>\
% for s in statements:
        const ${TV} ${s};
% endfor
% for j, value in enumerate(results):
        const ${TV} t${i}_${j} = ${value};
% endfor
<% columns = len(results) %>\
% endfor
% for j in range(columns):
<% statements, results = TRANSFORMS[kind]([f"t{i}_{j}" for i in range(size)], f"column{j}") %>\
% for s in statements:
        const ${TV} ${s};
% endfor
% for i, value in enumerate(results):
        const ${TV} y${i}_${j} = ${value};
% endfor
% endfor
</%def>
