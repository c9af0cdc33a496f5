## Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC'11).

## Ten rounds on the counter w0 to w3, of type U (uint or a vector of them), with the key `seed`.
<%def name="rounds(U)">\
      uint key0 = (uint)seed, key1 = (uint)(seed >> 32);
      for (int round = 0; round < 10; ++round) {
        const ${U} high0 = mul_hi(w0, (${U})(0xD2511F53u)), low0 = w0 * 0xD2511F53u;
        const ${U} high1 = mul_hi(w2, (${U})(0xCD9E8D57u)), low1 = w2 * 0xCD9E8D57u;
        w0 = high1 ^ w1 ^ key0;
        w1 = low1;
        w2 = high0 ^ w3 ^ key1;
        w3 = low0;
        key0 += 0x9E3779B9u;  // the golden ratio
        key1 += 0xBB67AE85u;  // sqrt(3) - 1
      }
</%def>

## A function: the four words of block `block` of an element, for draws that need any number of them.
## The counter holds the element in 48 bits, the block in 16, the number of the call in 64.
<%def name="words_of_element()">\
inline uint4 words_of(const ulong element, const uint block, const ulong seed, const ulong call) {
      uint w0 = (uint)element, w1 = (uint)(element >> 32) | block << 16;
      uint w2 = (uint)call, w3 = (uint)(call >> 32);
${rounds("uint")}\
      return (uint4)(w0, w1, w2, w3);
}
</%def>

## A function: the largest bfloat16 that is not above a finite float.
<%def name="bfloat16_below()">\
inline float bfloat16_below(const float x) {
  return as_float((as_uint(x) + (x < 0 ? 0xFFFFu : 0u)) & 0xFFFF0000u);
}
</%def>
