## Connectionist temporal classification (Graves et al., 2006, section 4.1), in logarithms. KERNEL is one of
##
##     alpha  alpha[b, t, s]: log of the probability of all ways to have put out positions 0 to s of the
##            extended label (blank, label 0, blank, label 1, ..., blank) by step t, up to an amount that is
##            the same for all s of a row; and loss[b] = -log p(label)
##     beta   beta[b, t, s]: the same from the end, for positions s and behind, at step t and behind
##     grad   dx[t, b, k] = -dy[b] * the share of the ways that are at class k at step t
##
## Layout: logp and dx (steps, batch, classes), label (batch, width), alpha and beta (batch, steps,
##   2 width + 1), loss and dy (batch), each C order. Positions behind a label's own are not written to.
## Rows are kept near 0, where floats are dense, by subtracting the largest element of the row before;
##   grad normalises each row of alpha + beta by itself, since the sum over s is p(label) at every step.
## Labels that need more steps than there are have the loss 0 (as in MXNet), those of probability 0
##   infinity; the gradient is 0 in both cases.
## alpha, beta: a work-group for each sequence, of TEAM work-items that share the positions; steps are
##   parted by barriers, and the largest element is found by a tree in local memory. CPU shape: TEAM is 1.
## grad: a work-item for each step of a sequence, in a grid-stride loop.
## Assumes: TEAM is a power of two; nobody leaves before a barrier.
## Tunables: TEAM (clgrad/kernels/ctc.py).
<%namespace name="common" file="common.mako"/>\
<%
T = expr.dtypes.c_type(k.dtype)
mirrored = kernel == "beta"
back = "+" if mirrored else "-"

def compute(dtype):
    return expr.dtypes.compute_type(dtype)

def limited(dtype, array, position, last):
    """A whole number from 0 to `last`; NaN counts as 0."""
    value = expr.load(dtype, array, position)
    kind = expr.dtypes.c_type(compute(dtype))
    if compute(dtype).kind == "f":
        return f"{value} > 0 ? ({value} < ({kind})({last}) ? (index_t)({value}) : {last}) : 0"
    return f"(index_t)clamp((long)({value}), 0L, (long)({last}))"
%>\
${common.prologue(k.signature, [])}
// log(exp(a) + exp(b) + exp(c)), also of -INFINITY; NaN stays NaN.
inline ${T} log_sum(const ${T} a, const ${T} b, const ${T} c) {
  const ${T} any = a + b + c;
  if (any != any) return any;
  const ${T} largest = max(a, max(b, c));
  if (largest == -INFINITY) return largest;
  return largest + log(exp(a - largest) + exp(b - largest) + exp(c - largest));
}

// Class i of a sequence's label.
inline index_t label_at(__global const ${k.label_storage} *label, const index_t i, const index_t classes) {
  return ${limited(k.label_dtype, "label", "i", "classes - 1")};
}

// Class at position s of the extended label.
inline index_t class_at(__global const ${k.label_storage} *label, const index_t s, const index_t classes) {
  return s & 1 ? label_at(label, s / 2, classes) : ${k.blank};
}
## What there is to know of sequence b: its label, and how many steps of it are to be walked.
<%def name="sequence()">\
    __global const ${k.label_storage} *own = label + b * width;
% if k.data_lengths:
    const index_t valid = ${limited(k.data_lengths, "data_lengths", "b", "steps")};
% else:
    const index_t valid = steps;
% endif
% if k.label_lengths:
    const index_t labels = ${limited(k.label_lengths, "label_lengths", "b", "width")};
% else:
    index_t labels = 0;
    while (labels < width && ${expr.load(k.label_dtype, "own", "labels")} != ${k.padding}) ++labels;
% endif
    index_t needed = labels;  // a blank lies between equal neighbours
    for (index_t i = 1; i < labels; ++i) needed += label_at(own, i, classes) == label_at(own, i - 1, classes);
    const index_t count = needed <= valid ? valid : 0, positions = 2 * labels + 1;
</%def>\
% if kernel != "grad":
% if k.team > 1:
__attribute__((reqd_work_group_size(${k.team}, 1, 1)))
% endif
__kernel void ${name}(
    ${k.signature})
{
% for array in k.arrays:
  ${array} += ${array}_offset;
% endfor
  const index_t b = get_group_id(0);
  const int member = get_local_id(0);
% if k.team > 1:
  __local ${T} shared[${k.team}];
% endif
${sequence()}\
  ${T} scale = 0, total = 0, lost = 0;  // total: of all scales so far, summed as Kahan (1965) does
  for (index_t n = 0; n < count; ++n) {
    const index_t t = ${"count - 1 - n" if mirrored else "n"};
    __global ${T} *row = ${kernel} + (b * steps + t) * (2 * width + 1);
    __global const ${T} *before = row ${back} (2 * width + 1);
    ${T} largest = -INFINITY;
    for (index_t i = member; i < positions; i += ${k.team}) {
      const index_t s = ${"positions - 1 - i" if mirrored else "i"};
      const index_t own_class = class_at(own, s, classes);
      ${T} ways = i < 2 ? 0 : -INFINITY;
      if (n > 0) {
        const index_t other = i > 1 ? class_at(own, s ${back} 2, classes) : own_class;
        const bool skips = own_class != other && ${"other" if mirrored else "own_class"} != ${k.blank};
        ways = log_sum(before[s], i > 0 ? before[s ${back} 1] : -INFINITY,
                       skips ? before[s ${back} 2] : -INFINITY);
      }
      const ${T} value = ways - scale + logp[(t * batch + b) * classes + own_class];
      row[s] = value;
      largest = value > largest ? value : largest;
    }
    const ${T} term = scale - lost, sum = total + term;
    lost = (sum - total) - term;
    total = sum;
% if k.team > 1:
    shared[member] = largest;
    for (int half_team = ${k.team // 2}; half_team > 0; half_team /= 2) {
      barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
      if (member < half_team) shared[member] = max(shared[member], shared[member + half_team]);
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    largest = shared[0];
    barrier(CLK_LOCAL_MEM_FENCE);
% endif
    scale = largest > -INFINITY ? largest : 0;
  }
% if kernel == "alpha":
  if (member == 0) {
    ${T} result = 0;
    if (count > 0) {
      __global const ${T} *last = alpha + (b * steps + count - 1) * (2 * width + 1) + positions;
      result = 0 - (log_sum(last[-1], labels > 0 ? last[-2] : -INFINITY, -INFINITY) + total);
    }
    loss[b] = result;
  }
% endif
}
% else:
__kernel void ${name}(
    ${k.signature})
{
% for array in k.arrays:
  ${array} += ${array}_offset;
% endfor
  const index_t blocks = steps * batch;
  for (index_t block = get_global_id(0); block < blocks; block += get_global_size(0)) {
    const index_t t = block / batch, b = block - t * batch;
${sequence()}\
    __global ${T} *row = dx + block * classes;
    __global const ${T} *emission = logp + block * classes;
    __global const ${T} *from = alpha + (b * steps + t) * (2 * width + 1);
    __global const ${T} *to = beta + (b * steps + t) * (2 * width + 1);
    for (index_t c = 0; c < classes; ++c) row[c] = 0;
    if (t >= count || loss[b] == INFINITY) continue;
    ${T} largest = -INFINITY;
    for (index_t s = 0; s < positions; ++s) {
      const ${T} both = from[s] + to[s] - emission[class_at(own, s, classes)];
      largest = both > largest ? both : largest;  // not where the class has the probability 0: NaN
    }
    ${T} ways = 0;
    for (index_t s = 0; s < positions; ++s) {
      const ${T} here = emission[class_at(own, s, classes)];
      ways += here == -INFINITY ? 0 : exp(from[s] + to[s] - here - largest);
    }
    const ${T} factor = -dy[b] / ways;
    for (index_t s = 0; s < positions; ++s) {
      const index_t own_class = class_at(own, s, classes);
      const ${T} here = emission[own_class];
      row[own_class] += here == -INFINITY ? 0 : factor * exp(from[s] + to[s] - here - largest);
    }
  }
}
% endif
