"""Attention on interleaved projections, on sizes that are no powers of two, against numpy."""

import numpy as np
import pytest

from clgrad import nd
from clgrad.errors import OperatorError, OperatorTypeError
from clgrad.test_utils import gradcheck, gradgradcheck

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {"contrib.interleaved_matmul_selfatt_qk": ("_split_heads", "_join_heads")}


def part(projections, heads, parts, which):
    """(batch, head, place, element) of one part."""
    length, batch, width = projections.shape
    split = projections.reshape(length, batch, heads, parts, width // (heads * parts))
    return split[:, :, :, which].transpose(1, 2, 0, 3).astype(np.float64)


def matrices(x):
    return x.reshape(-1, *x.shape[2:])


def joined(weighted):
    """(batch, head, place, element) to (place, batch, head * element)."""
    x = weighted.transpose(2, 0, 1, 3)
    return x.reshape(*x.shape[:2], -1)


@pytest.mark.parametrize(
    ("length", "batch", "heads", "size"), [(13, 3, 5, 7), (1, 1, 1, 1), (35, 2, 3, 33)]
)
def test_self_attention(length, batch, heads, size, rng):
    x = rng.standard_normal((length, batch, heads * 3 * size)).astype(np.float32)
    q, k, v = (part(x, heads, 3, i) for i in range(3))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(size)
    found = nd.contrib.interleaved_matmul_selfatt_qk(nd.array(x), heads=heads)
    np.testing.assert_allclose(found.asnumpy(), matrices(scores), rtol=1e-4, atol=1e-4)
    a = rng.random((batch, heads, length, length)).astype(np.float32)
    found = nd.contrib.interleaved_matmul_selfatt_valatt(nd.array(x), nd.array(matrices(a)), heads=heads)
    np.testing.assert_allclose(found.asnumpy(), joined(a @ v), rtol=1e-4, atol=1e-4)


def test_attention_to_another_sequence(rng):
    length, other, batch, heads, size = 5, 9, 3, 4, 7
    x = rng.standard_normal((length, batch, heads * size)).astype(np.float32)
    y = rng.standard_normal((other, batch, heads * 2 * size)).astype(np.float32)
    q, k, v = part(x, heads, 1, 0), part(y, heads, 2, 0), part(y, heads, 2, 1)
    found = nd.contrib.interleaved_matmul_encdec_qk(nd.array(x), nd.array(y), heads=heads)
    expected = q @ k.swapaxes(-1, -2) / np.sqrt(size)
    np.testing.assert_allclose(found.asnumpy(), matrices(expected), rtol=1e-4, atol=1e-4)
    a = rng.random((batch, heads, length, other)).astype(np.float32)
    found = nd.contrib.interleaved_matmul_encdec_valatt(nd.array(y), nd.array(matrices(a)), heads=heads)
    np.testing.assert_allclose(found.asnumpy(), joined(a @ v), rtol=1e-4, atol=1e-4)


def test_gradients_of_a_whole_layer(rng):
    def layer(x):
        scores = nd.softmax(nd.contrib.interleaved_matmul_selfatt_qk(x, heads=2))
        return nd.contrib.interleaved_matmul_selfatt_valatt(x, scores, heads=2)

    x = rng.standard_normal((3, 2, 12))
    gradcheck(layer, [x])
    gradgradcheck(layer, [x])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nd.contrib.interleaved_matmul_selfatt_qk(x, heads=5),
            "selfatt_qk: queries_keys_values is",
        ),
        (
            lambda x: nd.contrib.interleaved_matmul_selfatt_valatt(x, nd.ones((4, 3, 2)), heads=2),
            "selfatt_valatt: attention is of shape",
        ),
        (
            lambda x: nd.contrib.interleaved_matmul_encdec_qk(x, nd.ones((3, 1, 24)), heads=2),
            "encdec_qk: keys_values is of shape",
        ),
        (
            lambda x: nd.contrib.interleaved_matmul_selfatt_qk(x.astype("int32"), heads=2),
            "selfatt_qk: queries_keys_values is of dtype int32; accepted: a floating",
        ),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises((OperatorError, OperatorTypeError), match=message):
        call(nd.ones((3, 2, 12)))
