"""Matrices in compressed rows: making them, their attributes, products with gradients of every order."""

import numpy as np
import pytest

from clgrad import autograd, nd
from clgrad.errors import AbsentError, OperatorError
from clgrad.test_utils import gradcheck, gradgradcheck

COVERS = {"cast_storage": ("_csr_pointers", "_csr_compress", "_csr_dense", "_csr_transpose", "_csr_dot")}

DENSE = np.array([[0, 1, 0], [2, 0, 3], [0, 0, 0], [4, 0, 0]], np.float32)
PARTS = ([1, 2, 3, 4], [1, 0, 2, 0], [0, 1, 3, 3, 4])


class SciPyLike:
    """What csr_matrix asks of a SciPy matrix."""

    data, indices, indptr = np.float32([1, 2, 3, 4]), np.int32([1, 0, 2, 0]), np.int32([0, 1, 3, 3, 4])
    shape = (4, 3)

    def tocsr(self):
        return self


@pytest.fixture
def a():
    return nd.sparse.csr_matrix(DENSE)


def parts_of(a) -> list:
    return [part.asnumpy().tolist() for part in (a.data, a.indices, a.indptr)]


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda: nd.sparse.csr_matrix(DENSE), "float32"),
        (lambda: nd.sparse.csr_matrix(DENSE.astype("int32")), "int32"),
        (lambda: nd.sparse.csr_matrix(DENSE.tolist()), "float32"),
        (lambda: nd.sparse.csr_matrix(nd.array(DENSE, dtype="float16")), "float16"),
        (lambda: nd.sparse.csr_matrix(DENSE, dtype="int64"), "int64"),
        (lambda: nd.sparse.csr_matrix(PARTS, shape=(4, 3)), "float32"),
        (lambda: nd.sparse.csr_matrix(PARTS), "float32"),
        (lambda: nd.sparse.csr_matrix(tuple(nd.array(p) for p in PARTS), (4, 3)), "float32"),
        (lambda: nd.sparse.csr_matrix(([4, 3, 1, 2], ([3, 1, 0, 1], [0, 2, 1, 0]))), "float32"),
        (lambda: nd.sparse.csr_matrix(([4, 1, 3, 1, 1], ([3, 1, 1, 0, 1], [0, 0, 2, 1, 0]))), "float32"),
        (lambda: nd.sparse.csr_matrix(nd.sparse.csr_matrix(DENSE)), "float32"),
        (lambda: nd.sparse.csr_matrix(SciPyLike()), "float32"),
        (lambda: nd.sparse.array(SciPyLike()), "float32"),
        (lambda: nd.sparse.array(nd.sparse.csr_matrix(DENSE), dtype="int32"), "int32"),
        (lambda: nd.array(DENSE).tostype("csr"), "float32"),
        (lambda: nd.cast_storage(nd.array(DENSE), "csr"), "float32"),
        (lambda: nd.sparse.csr_matrix(DENSE).copy(), "float32"),
        (lambda: nd.sparse.csr_matrix(DENSE).tostype("csr"), "float32"),
        (lambda: nd.sparse.csr_matrix(DENSE).astype("float16"), "float16"),
    ],
)
def test_one_matrix_made_in_many_ways(make, dtype):
    a = make()
    assert (a.stype, a.shape, a.ndim, len(a)) == ("csr", (4, 3), 2, 4)
    assert a.dtype is np.dtype(dtype).type
    assert a.indices.dtype is a.indptr.dtype is np.int64
    assert parts_of(a) == [list(p) for p in PARTS]
    np.testing.assert_array_equal(a.asnumpy(), DENSE)
    dense = a.tostype("default")
    assert (dense.stype, dense.dtype) == ("default", a.dtype)


@pytest.mark.parametrize("make", [nd.sparse.zeros, nd.sparse.empty])
def test_nothing_stored(make):
    a = make("csr", (2, 3), dtype="int32")
    assert (a.shape, a.dtype, a.data.shape) == ((2, 3), np.int32, (0,))
    assert not a.asnumpy().any()
    assert nd.sparse.csr_matrix((2, 3)).shape == (2, 3)
    assert make("default", (2,)).asnumpy().tolist() == [0, 0]
    empty = nd.sparse.zeros("csr", (2, 3))
    np.testing.assert_array_equal(nd.dot(empty, nd.ones((3, 2))).asnumpy(), np.zeros((2, 2)))
    np.testing.assert_array_equal(
        nd.dot(empty, nd.ones((2, 2)), transpose_a=True).asnumpy(), np.zeros((3, 2))
    )


def test_asscipy(a):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    host = a.asscipy()
    assert isinstance(host, scipy_sparse.csr_matrix)
    np.testing.assert_array_equal(host.toarray(), DENSE)
    assert parts_of(nd.sparse.csr_matrix(host)) == [list(p) for p in PARTS]


@pytest.mark.parametrize(
    "key", [0, 2, -1, np.int64(1), slice(1, 3), slice(None), slice(2, None), slice(-3, -1), slice(2, 3)]
)
def test_rows(a, key):
    rows = DENSE[[key]] if not isinstance(key, slice) else DENSE[key]
    part = a[key]
    np.testing.assert_array_equal(part.asnumpy(), rows)
    assert part.indptr.asnumpy()[0] == 0


@pytest.mark.parametrize("key", [slice(None, None, 2), slice(2, 2), (slice(0, 1), 0), [0]])
def test_other_keys_are_refused(a, key):
    with pytest.raises(OperatorError, match="indexing: key is"):
        a[key]
    with pytest.raises(IndexError, match="4 is out of bounds for 4 rows"):
        a[4]


def test_repr(a):
    assert repr(a) == f"\n<CSRNDArray 4x3 @{a.context}>"


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
@pytest.mark.parametrize("width", [None, 1, 5])
def test_dot(a, transpose, dtype, width, rng):
    rows = (4 if transpose else 3,)
    b = rng.integers(-5, 5, rows if width is None else (*rows, width)).astype(np.float32)
    y = nd.dot(a.astype(dtype), nd.array(b, dtype=dtype), transpose_a=transpose)
    assert y.dtype is np.dtype(dtype).type
    np.testing.assert_array_equal(y.asnumpy(), (DENSE.T if transpose else DENSE) @ b)
    np.testing.assert_array_equal(nd.sparse.dot(a, nd.array(b), transpose).asnumpy(), y.asnumpy())


@pytest.mark.parametrize("transpose", [False, True])
def test_gradients_of_the_dense_side(transpose, rng):
    rows, columns = 7, 5
    dense = rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.5)

    def function(b):
        a = nd.sparse.csr_matrix(dense, dtype=b._view.dtype)
        return nd.tanh(nd.dot(a, b, transpose_a=transpose))

    b = rng.standard_normal((rows if transpose else columns, 3))
    gradcheck(function, [b])
    gradgradcheck(function, [b], order=3)


def test_writes_in_place_make_the_transposed_anew(a):
    ones = nd.ones((4, 1))
    nd.dot(a, ones, transpose_a=True)
    a.data[:] = nd.array([10, 20, 30, 40])
    np.testing.assert_array_equal(nd.dot(a, ones, transpose_a=True).asnumpy(), [[60], [10], [30]])


def test_runs_repeat_to_the_bit(rng):
    dense = rng.standard_normal((301, 97)) * (rng.random((301, 97)) < 0.2)
    found = []
    for _ in range(2):
        a, b = (
            nd.sparse.csr_matrix(dense, dtype="float32"),
            nd.array(rng.permutation(97 * 4).reshape(97, 4) * 0 + 0.1),
        )
        b.attach_grad()
        with autograd.record():
            y = nd.dot(a, b)
        y.backward()
        found.append((y.asnumpy().tobytes(), b.grad.asnumpy().tobytes()))
    assert found[0] == found[1]
    np.testing.assert_allclose(b.grad.asnumpy()[:, 0], dense.sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nd.sparse.csr_matrix(DENSE, shape=(2, 2)), r"shape is \(2, 2\); accepted: \(4, 3\)"),
        (
            lambda: nd.sparse.csr_matrix(([1], [3], [0, 1]), shape=(1, 3)),
            r"indices is \[3\]; accepted: 0 to 2",
        ),
        (lambda: nd.sparse.csr_matrix(([1], [-1], [0, 1]), shape=(1, 3)), r"indices is \[-1\]"),
        (lambda: nd.sparse.csr_matrix(([1], [0.5], [0, 1])), "indices is .*whole numbers"),
        (
            lambda: nd.sparse.csr_matrix(([1, 2], [0, 1], [0, 1]), shape=(1, 3)),
            "indptr is .*rise from 0 to 2",
        ),
        (lambda: nd.sparse.csr_matrix(([1, 2], [0, 1], [0, 3, 2]), shape=(2, 3)), "indptr is"),
        (lambda: nd.sparse.csr_matrix(([1], [0, 1], [0, 2])), r"data is of shape \(1,\)"),
        (lambda: nd.sparse.csr_matrix(([1], ([5], [0])), shape=(2, 2)), r"row is \[5\]; accepted: 0 to 1"),
        (lambda: nd.sparse.csr_matrix(([1], ([0, 1], [0, 1]))), "equal shapes"),
        (lambda: nd.ones((3,)).tostype("csr"), r"data is of shape \(3,\); accepted: a matrix"),
        (lambda: nd.sparse.array(DENSE), "source_array is ndarray"),
        (lambda: nd.sparse.zeros("csr", (3,)), r"shape is \(3,\)"),
        (lambda: nd.dot(nd.sparse.csr_matrix(DENSE), nd.ones((4, 2))), "3 rows to go with lhs"),
        (lambda: nd.dot(nd.sparse.csr_matrix(DENSE), nd.ones((3, 2), dtype="int32")), "rhs is int32"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(OperatorError, match=message):
        make()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (nd.exp, "exp: argument 'data' has storage type 'csr'; accepted: 'default'"),
        (lambda a: nd.sum(a, axis=0), "sum: argument 'data' has storage type 'csr'"),
        (lambda a: nd.add(nd.ones((4, 3)), a), "add: argument 'rhs' has storage type 'csr'"),
        (lambda a: a + 1, "add: an operand has storage type 'csr'"),
        (lambda a: nd.ones((4, 3)) * a, "mul"),
        (lambda a: a.reshape((3, 4)), "reshape: the array has storage type 'csr'"),
        (lambda a: a.attach_grad(), "attach_grad"),
        (lambda a: nd.dot(a, a), "dot: rhs has storage type 'csr'"),
        (lambda a: nd.dot(nd.ones((2, 4)), a), "csr"),
        (lambda a: nd.dot(a, nd.ones((2, 3)), transpose_b=True), "dot: transpose_b is True"),
        (lambda a: a.tostype("row_sparse"), "stype is 'row_sparse'; accepted: 'default', 'csr'"),
        (lambda a: nd.sparse.zeros("row_sparse", (2, 2)), "stype is 'row_sparse'"),
        (lambda a: nd.sparse.row_sparse_array, "row_sparse_array"),
    ],
)
def test_what_is_not_there_says_so(a, use, message):
    with pytest.raises(NotImplementedError, match=message) as caught:
        use(a)
    assert isinstance(caught.value, AbsentError)


def test_unknown_attributes_are_attribute_errors(a):
    with pytest.raises(AttributeError, match="no attribute 'shpae'"):
        a.shpae  # noqa: B018
