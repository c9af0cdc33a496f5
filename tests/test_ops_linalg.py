"""Diagonals, triangles and factorisations against numpy on larger and odd sizes."""

import numpy as np
import pytest

from clgrad import nd
from clgrad.errors import OperatorError, OperatorTypeError

#: What the coverage test counts as tested here, with the parts that each op is made of.
COVERS = {
    "diag": ("_diagonal", "_from_diagonal"),
    "linalg.extracttrian": ("_pack_triangle",),
    "linalg.maketrian": ("_unpack_triangle",),
}


@pytest.mark.parametrize("k", [0, 3, -5, 29, -37])
@pytest.mark.parametrize(("axis1", "axis2"), [(0, 1), (-1, 0), (1, 2)])
def test_diag_is_numpys(k, axis1, axis2, rng):
    a = rng.standard_normal((37, 38, 37)).astype("float32")
    k = int(np.clip(k, -a.shape[axis1], a.shape[axis2]))
    y = nd.array(a).diag(k=k, axis1=axis1, axis2=axis2)
    np.testing.assert_array_equal(y.asnumpy(), np.diagonal(a, k, axis1, axis2))


@pytest.mark.parametrize("offset", [0, 2, -2])
def test_triangles_there_and_back(offset, rng):
    a = rng.standard_normal((2, 33, 33)).astype("float32")
    for lower in (True, False):
        vector = nd.linalg.extracttrian(nd.array(a), offset=offset, lower=lower)
        back = nd.linalg.maketrian(vector, offset=offset, lower=lower)
        below = offset < 0 or (offset == 0 and lower)
        np.testing.assert_array_equal(back.asnumpy(), np.tril(a, offset) if below else np.triu(a, offset))


def test_nothing_in_matrices():
    assert nd.diag(nd.zeros((0,)), k=1).shape == (1, 1)
    assert nd.diag(nd.zeros((3, 4)), k=4).shape == (0,)
    assert nd.linalg.extractdiag(nd.zeros((2, 0, 0))).shape == (2, 0)
    assert nd.linalg.extracttrian(nd.zeros((0, 3, 3))).shape == (0, 6)
    assert nd.linalg.maketrian(nd.zeros((2, 0))).shape == (2, 0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nd.diag(nd.zeros((2, 3)), k=5), "diag: k is 5; accepted: -2 to 3"),
        (lambda: nd.diag(nd.zeros((2, 3)), axis1=2), "diag: axis1 is 2; accepted: -2 to 1"),
        (lambda: nd.diag(nd.zeros((2, 3)), axis1=-1), "diag: axis2 is 1; accepted: another axis"),
        (
            lambda: nd.linalg.extractdiag(nd.zeros((3, 3)), offset=3),
            "linalg.extractdiag: offset is 3; accepted: -2 to 2 for 3 by 3 matrices",
        ),
        (
            lambda: nd.linalg.maketrian(nd.zeros((2, 4))),
            r"linalg.maketrian: A is of shape \(2, 4\); accepted: 1, 3, 6, 10... elements",
        ),
        (
            lambda: nd.linalg.sumlogdiag(nd.zeros((3, 4))),
            r"linalg.sumlogdiag: A is of shape \(3, 4\); accepted: square matrices",
        ),
    ],
)
def test_errors_name_op_and_argument(call, message):
    with pytest.raises(OperatorError, match=message):
        call()


def test_other_dtypes_are_refused():
    with pytest.raises(
        OperatorTypeError, match=r"linalg.extractdiag: A is int32; accepted: float32, float64"
    ):
        nd.linalg.extractdiag(nd.zeros((3, 3), dtype="int32"))
