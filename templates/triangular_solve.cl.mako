## Solutions X of op(A) X = B with triangular A, B a stack of matrices, the identity, or a permutation.
##
## Layout: a [batch][n][n]; b, x [batch][n][m], C order. op transposes or not; only one triangle of a is
##   read, and with `unit` not its diagonal, which counts as 1. B is the array b, or, if there is none, the
##   identity (m = n), whose row i is row order[i] of it where `order` is given.
## Method: substitution, forward or backward; what is known of a column is read back from x.
## CPU shape: a work-item takes VECTORS * WIDTH columns of one matrix at a time; those that are left singly.
## GPU shape: one work-item for each column, so neighbours read neighbouring addresses.
## Assumes: x is b itself, or does not overlap it. Tunables: VECTORS, WIDTH (kernels/factorisation.py).
<%namespace name="common" file="common.mako"/>\
<%
vector = lambda lanes: f"{T}{lanes}" if lanes > 1 else T
index = "j * n + i" if transpose else "i * n + j"
forward = lower != transpose

def rhs(at, column, lanes):
    if source == "array":
        return expr.load(dtype, "b", at, lanes)
    row = "order[matrix * n + i]" if source == "order" else "i"
    if lanes == 1:
        return f"({T})({row} == {column})"
    return f"({T}{lanes})({', '.join(f'({T})({row} == {column} + {lane})' for lane in range(lanes))})"
%>\
## Columns `column`, ... of one matrix: `count` vectors of `lanes`.
<%def name="substitute(lanes, count)">\
      for (index_t step = 0; step < n; ++step) {
        const index_t i = ${"step" if forward else "n - 1 - step"};
        const index_t at = (matrix * n + i) * m + column;
% for v in range(count):
        ${vector(lanes)} sum${v} = ${rhs(f"at + {v * lanes}" if v else "at", f"column + {v * lanes}" if v else "column", lanes)};
% endfor
        for (index_t done = 0; done < step; ++done) {
          const index_t j = ${"done" if forward else "n - 1 - done"};
          const ${T} factor = a[matrix * n * n + ${index}];
          const index_t known = (matrix * n + j) * m + column;
% for v in range(count):
          sum${v} -= factor * ${expr.load(dtype, "x", f"known + {v * lanes}", lanes)};
% endfor
        }
% if not unit:
        const ${T} pivot = a[matrix * n * n + i * n + i];
% endif
% for v in range(count):
        ${expr.store(dtype, f"sum{v}" + ("" if unit else " / pivot"), dtype, "x", f"at + {v * lanes}", lanes)}
% endfor
      }
</%def>\
${common.prologue(signature, [])}
__kernel void ${name}(
    ${signature})
{
% for array in arrays:
  ${array} += ${array}_offset;
% endfor
  const index_t row_blocks = (m + ${block - 1}) / ${block};
  const index_t blocks = batch * row_blocks;
  for (index_t number = get_global_id(0); number < blocks; number += get_global_size(0)) {
    const index_t matrix = number / row_blocks;
    index_t column = (number - matrix * row_blocks) * ${block};
    const index_t stop = min(m, column + ${block});
% if block > 1:
    if (column + ${block} <= stop) {
${substitute(width, vectors)}\
      column += ${block};
    }
% if vectors > 1:
    for (; column + ${width} <= stop; column += ${width}) {
${substitute(width, 1)}\
    }
% endif
% endif
    for (; column < stop; ++column) {
${substitute(1, 1)}\
    }
  }
}
