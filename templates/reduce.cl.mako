## Map and reduce in one kernel: y[k] = finish(combine over r of f(x0[k, r], x1[k, r], ...)).
##
## Layout: the kept axes (k) and the reduced axes (r) are merged separately; operands have strides over
##   both. Two loops, chosen by which axis lies contiguous in memory (ORDER):
##     rows     vectors along the innermost reduced axis, one output at a time, UNROLL vectors at a time, or
##              WIDTH outputs at a time, each by ABREAST accumulators, where rows are short (CPU shape);
##     columns  vectors across UNROLL * WIDTH neighbouring outputs, one reduced position at a time; or, where
##              rows are longer, whole rows in the order of memory (CPU shape): PANEL outputs have their
##              accumulators in local memory, TOGETHER rows are taken at a time.
## CPU shape: one work-item per share of outputs. GPU shape: TEAM work-items per output (rows), joined by a
##   tree in local memory, or one work-item per output (columns).
## Few outputs are split along r over dimension 1 of the range; a second launch joins the partial results.
## Sums add blocks of at most BLOCK terms before adding the block, so rounding errors grow with
##   R / BLOCK + BLOCK and not with R (blocked summation: Higham, "Accuracy and Stability", 4.2).
## Assumes: full work-groups; nobody leaves before a barrier.
<%namespace name="common" file="common.mako"/>\
<%
K = [f"k{a}" for a in range(len(kept_sizes))]
R = [f"r{a}" for a in range(len(reduced_sizes))]
outer = K + R[:-1] if order == "rows" else R + K[:-1]
# Accumulators of reduction i: independent ones, so that the next term need not wait for the last.
part = lambda i, u: f"part{i}_{u}"
total = lambda i, u: f"total{i}_{u}"
# All variables that accumulators are made of.
shared = [(red.ctype(1, state), f"{i}{state}") for i, red in enumerate(reductions) for state in red.states]
%>\
${common.prologue(signature, helpers)}
<%def name="rows_of(outer)">\
% for access in accesses:
const index_t ${access.name}_row = ${access.row(outer)};
% endfor
</%def>\
<%def name="lines(body)">\
% for line in body:
${line}
% endfor
</%def>\
<%def name="finish_and_store(width, position)">\
% for line in finish[width]:
${line.replace("@", position)}
% endfor
</%def>\
## Neighbouring vectors, each for an accumulator of its own.
<%def name="unrolled_terms(parts)">\
          const index_t unrolled = column;
% for i, red in enumerate(reductions):
          ${red.prepare(part(i, parts[0]), f"inverse{i}")}
% endfor
% for place, u in enumerate(parts):
          {
            const index_t column = unrolled + ${place * width};
            ${lines(body[width])}
% for i, red in enumerate(reductions):
            ${red.take(part(i, u), values[width][i], width, f"inverse{i}")}
% endfor
          }
% endfor
</%def>\
## Each row has left a vector, and the vector of totals has one lane for each row: halves of two are joined with
## the other halves until one vector is left.
<%def name="total_of_each()">\
% for i, red in enumerate(reductions):
<% names = [f"rows{i}_{u}" for u in range(width)] %>\
% for u, name in enumerate(names):
% for state in red.states:
    const ${red.ctype(width, state)} ${name}${state} = rows${i}${state}[${u}];
% endfor
% endfor
% for low, high in folds[i]:
% for a, b in zip(names[::2], names[1::2]):
% for state in red.states:
<%
    kind = red.ctype(width, state)
    spell = lambda lanes: ", ".join(f"{(a, b)[lane // width]}{state}.s{lane % width:x}" for lane in lanes)
%>\
    ${kind} ${a}f${state} = (${kind})(${spell(low)}), ${b}f${state} = (${kind})(${spell(high)});
% endfor
    ${red.join(f"{a}f", f"{b}f", width)}
% endfor
<% names = [f"{a}f" for a in names[::2]] %>\
% endfor
    ${red.copy(f"tail{i}", names[0], width)}
% endfor
</%def>\
## WIDTH short rows at a time, as long as none of their vectors reaches beyond the end of an array: what a row's
## last vector has of the next row is left out.
<%def name="short_rows()">\
  for (; unit + ${width} <= unit_last; unit += ${width}) {
    const index_t beyond = unit + ${width - 1}, vectors = row_blocks * ${width};
% for access in accesses:
% if access.inner and access.operand.dtype is not None:
    if (${access.row(["beyond"])} + (vectors - 1) * ${access.step(1)} >= ${access.name}_end) break;
% endif
% endfor
% for i, red in enumerate(reductions):
% for state in red.states:
    ${red.ctype(width, state)} rows${i}${state}[${width}];
% endfor
% endfor
    for (int u = 0; u < ${width}; ++u) {
      const index_t k0 = unit + u;
      ${rows_of(outer)}
% for i, red in enumerate(reductions):
% for u in range(abreast):
      ${red.open(part(i, u), width)}
% endfor
% endfor
      index_t column = 0;
% if abreast > 1:
      for (; column + ${abreast * width} <= reduced_columns; column += ${abreast * width}) {
        ${unrolled_terms(range(abreast))}
      }
% endif
      for (; column + ${width} <= reduced_columns; column += ${width}) {
        ${lines(body[width])}
% for i, red in enumerate(reductions):
        ${red.take(part(i, 0), values[width][i], width)}
% endfor
      }
      if (column < reduced_columns) {
        ${lines(body[width])}
% for i, red in enumerate(reductions):
        const ${red.mask(width)} inside${i} = (${red.mask(width)})(${", ".join(map(str, range(width)))}) < (${red.mask(width)})(reduced_columns - column);
        const ${red.ctype(width)} last${i} = inside${i} ? ${values[width][i][0]} : ${red.identity(width)};
        ${red.take(part(i, 0), [f"last{i}", *values[width][i][1:]], width)}
% endfor
      }
% for i, red in enumerate(reductions):
% for u in range(abreast):
      ${red.close(part(i, u), width)}
% endfor
% for u in range(1, abreast):
      ${red.join(part(i, 0), part(i, u), width)}
% endfor
% for state in red.states:
      rows${i}${state}[u] = ${part(i, 0)}${state};
% endfor
% endfor
    }
    ${total_of_each()}
    ${finish_and_store(width, "unit")}
  }
</%def>\
## Rows `term`, `term` + 1, ... of a panel, `count` of them: column by column they are reduced in registers, and
## what they come to is joined with what lies in local memory. The last vector may reach beyond the end of a
## row, though not of an array: there is room for lanes that nobody asks for.
<%def name="panel_rows(count)">\
% for u in range(count):
% for access in accesses:
          index_t ${access.name}_row${u};
% endfor
          {
            const index_t position = term${f" + {u} * apart" if u else ""};
            ${common.decode("position", reduced_sizes, "r")}
% for access in accesses:
            ${access.name}_row${u} = ${access.row(outer)};
% endfor
          }
% endfor
          index_t column = panel, whole = panel_end;
% for access in accesses:
% if access.inner and access.operand.dtype is not None:
% for u in range(count):
          if (${access.name}_row${u} + (panel_end - 1) * ${access.step(len(access.strides) - 1)} >= ${access.name}_end) whole = stop;
% endfor
% endif
% endfor
% for w in dict.fromkeys((width, 1)):
          for (; column + ${w} <= ${"whole" if w > 1 else "stop"}; column += ${w}) {
% for i, red in enumerate(reductions):
            ${red.open(part(i, 0), w)}
% endfor
% for u in range(count):
            {
% for access in accesses:
              const index_t ${access.name}_row = ${access.name}_row${u};
% endfor
              ${lines(body[w])}
% for i, red in enumerate(reductions):
              ${red.take(part(i, 0), values[w][i], w)}
% endfor
            }
% endfor
% for i, red in enumerate(reductions):
            ${red.close(part(i, 0), w)}
            ${kept(red, f"mine{i}", f"parts{i}", w)}
            ${red.join(f"mine{i}", part(i, 0), w)}
            ${keep(red, f"mine{i}", f"parts{i}", w)}
% endfor
          }
% endfor
</%def>\
<%def name="kept(red, name, array, w)">\
<% at = lambda state: f"vload{w}(0, {array}{state} + (column - panel))" if w > 1 else f"{array}{state}[column - panel]" %>\
${" ".join(f"{red.ctype(w, state)} {name}{state} = {at(state)};" for state in red.states)}\
</%def>\
<%def name="keep(red, name, array, w)">\
% for state in red.states:
${f"vstore{w}({name}{state}, 0, {array}{state} + (column - panel));" if w > 1 else f"{array}{state}[column - panel] = {name}{state};"}\
% endfor
</%def>\
<%def name="empty_parts()">\
% for i, red in enumerate(reductions):
% for state, value in zip(red.states, red.empty(1)):
        parts${i}${state}[column - panel] = ${value};
% endfor
% endfor
</%def>\
## The accumulators of a block: one for single vectors, and those of vectors that are taken together, which all
## have as many terms as each other.
<%def name="open_parts()">\
% if width > 1:
% for i, red in enumerate(reductions):
% for u in range(unroll + (unroll > 1)):
      ${red.open(part(i, u), width)}
% endfor
% endfor
% endif
</%def>\
<%def name="join_parts()">\
% if width > 1:
% for i, red in enumerate(reductions):
% for u in range(unroll + (unroll > 1)):
      ${red.close(part(i, u), width)} ${red.join(f"acc{i}", part(i, u), width)}
% endfor
% endfor
% endif
</%def>\
## The terms of a row from `column` to `stop`.
<%def name="row_terms()">\
      ${common.decode("row", reduced_sizes[:-1], "r")}
      ${rows_of(outer)}
% if width > 1:
% if unroll > 1:
      for (; column + ${unroll * width} <= stop; column += ${unroll * width}) {
        ${unrolled_terms(range(1, unroll + 1))}
      }
% endif
      for (; column + ${width} <= stop; column += ${width}) {
        ${lines(body[width])}
% for i, red in enumerate(reductions):
        ${red.take(part(i, 0), values[width][i], width)}
% endfor
      }
% endif
      while (column < stop) {
        const index_t pause = min(stop, column + ${block});
% for i, red in enumerate(reductions):
        ${red.open(f"part{i}", 1)}
% endfor
        for (; column < pause; ++column) {
          ${lines(body[1])}
% for i, red in enumerate(reductions):
          ${red.take(f"part{i}", values[1][i], 1)}
% endfor
        }
% for i, red in enumerate(reductions):
        ${red.close(f"part{i}", 1)} ${red.join(f"tail{i}", f"part{i}", 1)}
% endfor
      }
</%def>\
% if team > 1:
__attribute__((reqd_work_group_size(${team}, 1, 1)))
% endif
__kernel void ${name}(
    ${signature})
{
  ${common.shift(arrays)}
% if team > 1:
  const int member = get_local_id(0);
% for kind, state in shared:
  __local ${kind} share${state}[${team}];
% endfor
% endif
% if panel:
% for kind, state in shared:
  __local ${kind} parts${state}[${panel}], totals${state}[${panel}];
% endfor
% endif
  const index_t split = get_global_id(1);
  const index_t splits = get_global_size(1);
% if order == "rows":
  const index_t units = outputs;
  const index_t row_blocks = (reduced_columns + ${width - 1}) / ${width};
  const index_t terms = reduced_rows * row_blocks;
% else:
  const index_t unit_blocks = (kept_columns + ${side - 1}) / ${side};
  const index_t units = kept_rows * unit_blocks;
  const index_t terms = reduced_rows * reduced_columns;
% endif
  const index_t share = (terms + splits - 1) / splits;
  const index_t first = min(terms, split * share);
  const index_t last = min(terms, first + share);
% if team > 1:
  for (index_t unit = get_group_id(0); unit < units; unit += get_num_groups(0)) {
% elif shape == "cpu":
  const index_t unit_share = (units + get_global_size(0) - 1) / get_global_size(0);
  const index_t unit_first = get_global_id(0) * unit_share;
  const index_t unit_last = min(units, unit_first + unit_share);
  index_t unit = unit_first;
% if abreast:
  ${short_rows()}
% endif
  for (; unit < unit_last; ++unit) {
% else:
  for (index_t unit = get_global_id(0); unit < units; unit += get_global_size(0)) {
% endif
% if order == "rows":
    ${common.decode("unit", kept_sizes, "k")}
% for i, red in enumerate(reductions):
    ${red.declare(f"acc{i}", width)}
    ${red.declare(f"tail{i}", 1)}
% endfor
% if team > 1:
    for (index_t block = first + member; block < last; block += ${team}) {
      const index_t row = block / row_blocks;
      index_t column = (block - row * row_blocks) * ${width};
      const index_t stop = min(reduced_columns, column + ${width});
      ${open_parts()}
      ${row_terms()}
      ${join_parts()}
    }
% else:
    index_t block = first;
    while (block < last) {
      const index_t pause = min(last, block + ${block});
      ${open_parts()}
      while (block < pause) {
        const index_t row = block / row_blocks;
        index_t column = (block - row * row_blocks) * ${width};
        const index_t row_last = min(row_blocks, pause - row * row_blocks);
        const index_t stop = min(reduced_columns, row_last * ${width});
        block = row * row_blocks + row_last;
        ${row_terms()}
      }
      ${join_parts()}
    }
% endif
% if width > 1:
% for i, red in enumerate(reductions):
<% whole, half = f"acc{i}", width // 2 %>\
% while half:
    ${red.half(f"acc{i}_{half}", whole, "lo", half)} ${red.half(f"high{i}_{half}", whole, "hi", half)}
    ${red.join(f"acc{i}_{half}", f"high{i}_{half}", half)}
<% whole, half = f"acc{i}_{half}", half // 2 %>\
% endwhile
    ${red.join(f"tail{i}", whole, 1)}
% endfor
% endif
% if team > 1:
% for _, state in shared:
    share${state}[member] = tail${state};
% endfor
    for (int half_team = ${team // 2}; half_team > 0; half_team >>= 1) {
      barrier(CLK_LOCAL_MEM_FENCE);
      if (member < half_team) {
% for kind, state in shared:
        ${kind} mine${state} = share${state}[member], other${state} = share${state}[member + half_team];
% endfor
% for i, red in enumerate(reductions):
        ${red.join(f"mine{i}", f"other{i}", 1)}
% endfor
% for _, state in shared:
        share${state}[member] = mine${state};
% endfor
      }
    }
    if (member == 0) {
% for _, state in shared:
      tail${state} = share${state}[0];
% endfor
      ${finish_and_store(1, "split * outputs + unit")}
    }
    barrier(CLK_LOCAL_MEM_FENCE);
% else:
    ${finish_and_store(1, "split * outputs + unit")}
% endif
% else:
    const index_t row = unit / unit_blocks;
% if panel:
    const index_t panel = (unit - row * unit_blocks) * ${panel}, stop = min(kept_columns, panel + ${panel});
    const index_t panel_end = panel + (stop - panel + ${width - 1}) / ${width} * ${width};
    ${common.decode("row", kept_sizes[:-1], "k")}
    for (index_t column = panel; column < stop; ++column) {
      ${empty_parts()}
% for _, state in shared:
      totals${state}[column - panel] = parts${state}[column - panel];
% endfor
    }
    for (index_t term = first; term < last;) {
      const index_t pause = min(last, term + ${block});
      const index_t apart = (pause - term) / ${together};
      for (const index_t turn = term + apart; term < turn; ++term) {
        ${panel_rows(together)}
      }
      term += ${together - 1} * apart;
      for (; term < pause; ++term) {
        ${panel_rows(1)}
      }
      for (index_t column = panel; column < stop; ++column) {
% for i, red in enumerate(reductions):
        ${kept(red, f"total{i}", f"totals{i}", 1)}
        ${kept(red, f"part{i}", f"parts{i}", 1)}
        ${red.join(f"total{i}", f"part{i}", 1)}
        ${keep(red, f"total{i}", f"totals{i}", 1)}
% endfor
        ${empty_parts()}
      }
    }
    index_t column = panel;
% for w in dict.fromkeys((width, 1)):
    for (; column + ${w} <= stop; column += ${w}) {
% for i, red in enumerate(reductions):
      ${kept(red, f"tail{i}", f"totals{i}", w)}
% endfor
      ${finish_and_store(w, "split * outputs + row * kept_columns + column")}
    }
% endfor
% else:
    index_t column = (unit - row * unit_blocks) * ${side};
    const index_t stop = min(kept_columns, column + ${side});
    ${common.decode("row", kept_sizes[:-1], "k")}
% if unroll > 1:
    if (column + ${unroll * width} <= stop) {
% for i, red in enumerate(reductions):
% for u in range(unroll):
      ${red.declare(total(i, u), width)}
% endfor
% endfor
      for (index_t term = first; term < last;) {
        const index_t pause = min(last, term + ${block});
% for i, red in enumerate(reductions):
% for u in range(unroll):
        ${red.open(part(i, u), width)}
% endfor
% endfor
        for (; term < pause; ++term) {
          ${common.decode("term", reduced_sizes, "r")}
          ${rows_of(outer)}
          ${unrolled_terms(range(unroll))}
        }
% for i, red in enumerate(reductions):
% for u in range(unroll):
        ${red.close(part(i, u), width)} ${red.join(total(i, u), part(i, u), width)}
% endfor
% endfor
      }
% for u in range(unroll):
      {
% for i, red in enumerate(reductions):
        ${red.copy(f"tail{i}", total(i, u), width)}
% endfor
        ${finish_and_store(width, f"split * outputs + row * kept_columns + column + {u * width}")}
      }
% endfor
      column = stop;
    }
% endif
% for w in dict.fromkeys((width, 1)):
    for (; column + ${w} <= stop; column += ${w}) {
% for i, red in enumerate(reductions):
      ${red.declare(f"tail{i}", w)}
% endfor
      for (index_t term = first; term < last;) {
        const index_t pause = min(last, term + ${block});
% for i, red in enumerate(reductions):
        ${red.open(f"part{i}", w)}
% endfor
        for (; term < pause; ++term) {
          ${common.decode("term", reduced_sizes, "r")}
          ${rows_of(outer)}
          ${lines(body[w])}
% for i, red in enumerate(reductions):
          ${red.take(f"part{i}", values[w][i], w)}
% endfor
        }
% for i, red in enumerate(reductions):
        ${red.close(f"part{i}", w)} ${red.join(f"tail{i}", f"part{i}", w)}
% endfor
      }
      ${finish_and_store(w, "split * outputs + row * kept_columns + column")}
    }
% endfor
% endif
% endif
  }
}
