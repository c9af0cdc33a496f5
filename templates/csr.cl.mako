## Matrices in compressed rows (CSR): data and indices, the stored elements of row after row and their
## columns, and indptr, where each row begins. KERNEL is one of
##
##     count      indptr[r + 1] = elements of row r of a dense matrix that are not 0
##     scan       indptr[1...] summed up, so that it says where rows begin
##     compress   data and indices of a dense matrix, from its indptr
##     dense      the dense matrix; elements stored twice are added
##     columns    indptr[c + 1] = elements stored in column c (of the transposed matrix, before `scan`)
##     transpose  data and indices of the transposed matrix, in the order of the rows
##     dot        y[r, n] = sum over the elements of row r of data * rhs[column, n], in their order
##
## Layout: dense (rows, columns), rhs (columns, width), y (rows, width), C order; indices and indptr int64.
## count, compress, dense: a work-item for each row; dot: one for each element of y, neighbours beside each
##   other; all in grid-stride loops.
## columns, transpose: each work-item owns a block of columns and reads all indices in order: no atomics,
##   and the same order in every run.
## scan: one work-group of TEAM work-items with a range each; the ranges' sums are scanned by the first.
## Tunables: TEAM, and the number of owners (clgrad/kernels/csr.py).
<%namespace name="common" file="common.mako"/>\
<%
compute = expr.dtypes.compute_type(k.dtype)
T = expr.dtypes.c_type(compute)
load = lambda array, position: expr.load(k.dtype, array, position)
store = lambda array, position, value: expr.store(k.dtype, value, compute, array, position)
%>\
${common.prologue(k.signature, [])}
% if kernel == "scan" and k.team > 1:
__attribute__((reqd_work_group_size(${k.team}, 1, 1)))
% endif
__kernel void ${name}(
    ${k.signature})
{
% for array in k.arrays:
  ${array} += ${array}_offset;
% endfor
% if kernel == "scan":
% if k.team > 1:
  __local long shared[${k.team}];
% endif
  const index_t share = (rows + ${k.team - 1}) / ${k.team}, member = get_local_id(0);
  const index_t first = min(rows, member * share), last = min(rows, first + share);
  long total = 0;
% if k.team > 1:
  for (index_t r = first; r < last; ++r) total += indptr[r + 1];
  shared[member] = total;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (member == 0) {
    total = 0;
    for (int other = 0; other < ${k.team}; ++other) {
      const long own = shared[other];
      shared[other] = total;
      total += own;
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  total = shared[member];
% endif
  if (member == 0) indptr[0] = 0;
  for (index_t r = first; r < last; ++r) indptr[r + 1] = total += indptr[r + 1];
% elif kernel in ("count", "compress", "dense"):
  for (index_t r = get_global_id(0); r < rows; r += get_global_size(0)) {
    const index_t row = r * columns;
% if kernel == "count":
    long found = 0;
    for (index_t c = 0; c < columns; ++c) found += ${load("matrix", "row + c")} != 0;
    indptr[r + 1] = found;
% elif kernel == "compress":
    index_t place = indptr[r];
    for (index_t c = 0; c < columns; ++c) {
      const ${T} value = ${load("matrix", "row + c")};
      if (value != 0) {
        ${store("data", "place", "value")}
        indices[place++] = c;
      }
    }
% else:
    for (index_t c = 0; c < columns; ++c) ${store("matrix", "row + c", f"({T})0")}
    for (index_t place = indptr[r]; place < indptr[r + 1]; ++place) {
      const index_t at = row + indices[place];
      const ${T} value = ${load("matrix", "at")} + ${load("data", "place")};
      ${store("matrix", "at", "value")}
    }
% endif
  }
% elif kernel in ("columns", "transpose"):
  const index_t share = (columns + owners - 1) / owners;
  for (index_t owner = get_global_id(0); owner < owners; owner += get_global_size(0)) {
    const index_t first = min(columns, owner * share), last = min(columns, first + share);
    for (index_t c = first; c < last; ++c) ${"next[c] = t_indptr[c]" if kernel == "transpose" else "t_indptr[c + 1] = 0"};
% if kernel == "columns":
    const index_t terms = indptr[rows];
    for (index_t place = 0; place < terms; ++place) {
      const index_t c = indices[place];
      if (c >= first && c < last) ++t_indptr[c + 1];
    }
% else:
    for (index_t r = 0; r < rows; ++r)
      for (index_t place = indptr[r]; place < indptr[r + 1]; ++place) {
        const index_t c = indices[place];
        if (c < first || c >= last) continue;
        const index_t at = next[c]++;
        t_indices[at] = r;
        ${store("t_data", "at", load("data", "place"))}
      }
% endif
  }
% else:
  for (index_t at = get_global_id(0); at < rows * width; at += get_global_size(0)) {
    const index_t r = at / width, n = at - r * width;
    ${T} total = 0;
    for (index_t place = indptr[r]; place < indptr[r + 1]; ++place)
      total += ${load("data", "place")} * ${load("rhs", "indices[place] * width + n")};
    ${store("y", "at", "total")}
  }
% endif
}
