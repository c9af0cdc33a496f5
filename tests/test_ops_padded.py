"""Padded sequences: lengths that MXNet leaves undefined, larger batches, errors."""

import numpy as np
import pytest

from clgrad import nd
from clgrad.errors import OperatorError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "SequenceMask": ("_sequence_mask",),
    "SequenceLast": ("_sequence_last", "_sequence_last_grad"),
    "SequenceReverse": ("_sequence_reverse",),
}


@pytest.mark.parametrize("axis", [0, 1])
def test_many_sequences(axis, rng):
    steps, batch = 13, 37
    x = rng.standard_normal((steps, batch, 19)).astype(np.float32)
    lengths = rng.integers(1, steps + 1, batch)
    place = np.arange(steps)[:, None]
    inside = (place < lengths)[..., None]
    source = np.where(place < lengths, lengths - 1 - place, place)

    def call(op, **options):
        data = nd.array(x if axis == 0 else x.swapaxes(0, 1))
        y = op(data, nd.array(lengths), use_sequence_length=True, axis=axis, **options).asnumpy()
        return y if axis == 0 or y.ndim == 2 else y.swapaxes(0, 1)

    np.testing.assert_array_equal(call(nd.SequenceMask, value=3), np.where(inside, x, np.float32(3)))
    np.testing.assert_array_equal(call(nd.SequenceLast), x[lengths - 1, np.arange(batch)])
    np.testing.assert_array_equal(call(nd.SequenceReverse), np.take_along_axis(x, source[..., None], 0))


def test_lengths_outside():
    """Those below 0 (NaN as well) count as 0, those beyond the steps as all of them."""
    x = nd.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    lengths = nd.array([-3, 0, np.nan, 9])

    def call(op):
        return op(x, lengths, use_sequence_length=True).asnumpy().tolist()

    assert call(nd.SequenceMask) == [[0, 0, 0, 4], [0, 0, 0, 8]]
    assert call(nd.SequenceLast) == [1, 2, 3, 8]
    assert call(nd.SequenceReverse) == [[1, 2, 3, 8], [5, 6, 7, 4]]


def test_empty_batches():
    x, lengths = nd.zeros((3, 0, 2)), nd.zeros((0,))
    for op in (nd.SequenceMask, nd.SequenceReverse):
        assert op(x, lengths, use_sequence_length=True).shape == (3, 0, 2)
    assert nd.SequenceLast(x, lengths, use_sequence_length=True).shape == (0, 2)
    with pytest.raises(OperatorError, match="SequenceLast: data"):
        nd.SequenceLast(nd.zeros((0, 3)))


@pytest.mark.parametrize("op", [nd.SequenceMask, nd.SequenceLast, nd.SequenceReverse])
def test_errors_name_op_and_argument(op):
    x, lengths = nd.zeros((3, 2)), nd.zeros((2,))
    for args, options, message in (
        ((x, lengths), {}, "sequence_length is given; accepted: one array with use_sequence_length=True"),
        ((x,), {"use_sequence_length": True}, "sequence_length is not given; accepted: one"),
        ((x, x), {"use_sequence_length": True}, r"sequence_length is of shape \(3, 2\); accepted: \(2,\)"),
        ((x,), {"axis": 2}, "axis is 2; accepted: 0 or 1"),
        ((lengths,), {}, r"data is of shape \(2,\); accepted: two axes or more"),
    ):
        with pytest.raises(OperatorError, match=f"{op.name}: {message}"):
            op(*args, **options)
