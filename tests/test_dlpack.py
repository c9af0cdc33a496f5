"""DLPack: arrays from and for other libraries, by way of host memory."""

import numpy as np
import pytest

from clgrad import nd
from clgrad.errors import OperatorTypeError

FP64 = pytest.mark.requires("fp64")
DTYPES = ["float16", "float32", pytest.param("float64", marks=FP64), "int8", "uint8", "int16", "int32"]
DTYPES += ["int64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4), (5,)])
def test_there_and_back(shape, dtype, rng):
    host = rng.integers(0, 2, shape).astype(dtype)
    x = nd.array(host, dtype=dtype)
    seen = np.from_dlpack(x)
    assert seen.dtype == host.dtype
    np.testing.assert_array_equal(seen, host)
    for taken in (nd.from_dlpack(x), nd.from_dlpack(host), nd.from_dlpack(x.__dlpack__())):
        assert taken.dtype is x.dtype
        assert taken.shape == shape
        np.testing.assert_array_equal(taken.asnumpy(), host)


def test_strided_memory():
    host = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(nd.from_dlpack(host.T[::2, ::-1]).asnumpy(), host.T[::2, ::-1])


@pytest.mark.parametrize("name", ["to_dlpack_for_read", "to_dlpack_for_write"])
def test_capsules_hold_copies(name):
    x = nd.array([1.0, 2.0])
    for capsule in (getattr(nd, name)(x), getattr(x, name)()):
        y = nd.from_dlpack(capsule)
        y[:] = 0
        assert x.asnumpy().tolist() == [1, 2]
        with pytest.raises(OperatorTypeError, match="from_dlpack: numpy cannot see the memory"):
            nd.from_dlpack(capsule)  # it was taken


def test_the_protocols_arguments():
    x = nd.ones((2,))
    assert x.__dlpack_device__() == (1, 0)
    assert type(x.__dlpack__(max_version=(1, 0), dl_device=(1, 0), copy=True)).__name__ == "PyCapsule"
    with pytest.raises(BufferError, match="copy=False"):
        x.__dlpack__(copy=False)
    with pytest.raises(BufferError, match=r"dl_device=\(2, 0\)"):
        x.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError):
        x.astype("bfloat16").__dlpack__()


def test_what_cannot_be_taken():
    with pytest.raises(OperatorTypeError, match="from_dlpack: dlpack is list; accepted"):
        nd.from_dlpack([1])
    with pytest.raises(OperatorTypeError, match=r"from_dlpack: dtype.*complex64"):
        nd.from_dlpack(np.ones(2, np.complex64))

    class Elsewhere:
        def __dlpack_device__(self):
            return (2, 0)

        def __dlpack__(self, **_):
            raise BufferError("on a GPU")

    with pytest.raises(OperatorTypeError, match="from_dlpack: numpy cannot see the memory"):
        nd.from_dlpack(Elsewhere())


@pytest.mark.parametrize("zero_copy", [True, False])
def test_from_numpy(zero_copy):
    host = np.arange(3)
    x = nd.from_numpy(host, zero_copy=zero_copy)
    assert x.dtype is np.int64
    x[:] = 7
    assert host.tolist() == [0, 1, 2]
