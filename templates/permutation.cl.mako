## A random permutation of 0 to n - 1, keyed by Philox: each element is found by itself, without a sort.
##
##     keys      a random 64-bit key for each of few elements
##     ranks     y[rank of element i by its key] = i: every order is equally likely
##     feistel   y[i] = P(i), P a pseudo-random bijection: 8 rounds of an alternating Feistel network on
##               pairs (left, right) from left_size x right_size >= n; a result that is not below n runs
##               through once more, which ends, as i is on the cycle. J. Black, P. Rogaway, "Ciphers with
##               arbitrary finite domains" (CT-RSA 2002)
##
## CPU shape: a work-item takes one contiguous range of elements. GPU shape: a grid-stride loop.
<%namespace name="common" file="common.mako"/>\
<%namespace name="random" file="philox.mako"/>\
<%
result = expr.store(storage, "value", expr.dtypes.compute_type(storage), "y", "rank" if method == "ranks" else "i")
kind = expr.dtypes.c_type(expr.dtypes.compute_type(storage))
%>\
${common.prologue(signature, [])}
% if method != "ranks":
${random.words_of_element()}
% endif
% if method == "feistel":
// A number below `size` that depends on round and operand as if by chance.
inline uint scramble(const uint operand, const uint round, const ulong seed, const ulong call, const uint size) {
  return mul_hi(words_of(operand, round, seed, call).x, size);
}

% endif
__kernel void ${name}(
    ${signature})
{
% if method != "keys":
  y += y_offset;
% endif
% if method != "feistel":
  keys += keys_offset;
% endif
% if shape == "cpu":
  const index_t share = (n + get_global_size(0) - 1) / get_global_size(0);
  const index_t first = get_global_id(0) * share;
  for (index_t i = first; i < min(n, first + share); ++i) {
% else:
  for (index_t i = get_global_id(0); i < n; i += get_global_size(0)) {
% endif
% if method == "keys":
    const uint4 w = words_of(i, 0, seed, call);
    keys[i] = (long)((ulong)w.x << 32 | w.y);
% elif method == "ranks":
    const long own = keys[i];
    index_t rank = 0;
    for (index_t j = 0; j < n; ++j)
      rank += keys[j] < own || (keys[j] == own && j < i) ? 1 : 0;
    const ${kind} value = i;
    ${result}
% else:
    ulong place = i;
    do {
      uint left = place / right_size, right = place % right_size;  // below 2^31 for any n that memory holds
      for (uint round = 0; round < 8; round += 2) {
        left += scramble(right, round, seed, call, left_size);
        left -= left < left_size ? 0 : left_size;
        right += scramble(left, round + 1, seed, call, right_size);
        right -= right < right_size ? 0 : right_size;
      }
      place = (ulong)left * right_size + right;
    } while (place >= n);
    const ${kind} value = place;
    ${result}
% endif
  }
}
