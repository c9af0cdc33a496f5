"""Matrices in compressed rows (CSR): conversion, and the product with dense matrices.

Only the elements that are stored take memory. What else can be done with such a matrix is done with its
dense form, which ``tostype('default')`` gives: other ops raise NotImplementedError.
"""

import importlib
from collections.abc import Iterable

import numpy as np

from clgrad import array, dtypes, tape
from clgrad.array import NDArray
from clgrad.device import Context
from clgrad.errors import AbsentError, OperatorError, argument_error
from clgrad.kernels import csr
from clgrad.ops.conversion import as_in_context, cast
from clgrad.ops.shape import take_slice, with_shape
from clgrad.ops.unary import identity
from clgrad.registry import Call, Spec, composite, operator

_KINDS = ("default", "csr")


@operator(name="_csr_pointers", label="cast_storage")
def _csr_pointers(call: Call, data: Spec):
    """Where each row of a dense matrix begins among the elements that are not 0."""
    return csr.plan_pointers(call.device, call.kernel(data.dtype, "pointers"), data.shape, data.dtype)


@operator(name="_csr_compress", label="cast_storage", outputs=("data", "indices"))
def _csr_compress(call: Call, data: Spec, indptr: Spec, *, terms):
    """The elements of a dense matrix that are not 0, and their columns."""
    name = call.kernel(data.dtype, "compress")
    return csr.plan_compress(call.device, name, data.shape, data.dtype, terms)


@operator(name="_csr_dense", label="cast_storage")
def _csr_dense(call: Call, data: Spec, indices: Spec, indptr: Spec, *, shape):
    """The dense matrix."""
    return csr.plan_dense(call.device, call.kernel(data.dtype, "dense"), shape, data.dtype)


@operator(name="_csr_transpose", label="dot", outputs=("data", "indices", "indptr"))
def _csr_transpose(call: Call, data: Spec, indices: Spec, indptr: Spec, *, shape):
    """The transposed matrix, or the same matrix in compressed columns."""
    name = call.kernel(data.dtype, "transpose")
    return csr.plan_transpose(call.device, name, shape, data.dtype, data.shape[0])


@operator(name="_csr_dot", label="dot")
def _csr_dot(
    call: Call,
    rhs: Spec,
    data: Spec,
    indices: Spec,
    indptr: Spec,
    t_data: Spec | None = None,
    t_indices: Spec | None = None,
    t_indptr: Spec | None = None,
    *,
    shape,
):
    """The product with a dense matrix; its gradient is that with the transposed matrix, if it is given."""
    inputs = 4 if t_data is None else 7
    name = call.kernel(rhs.dtype, "csr")
    return csr.plan_dot(call.device, name, shape, rhs.shape[1], rhs.dtype, inputs)


@_csr_dot.joint_gradient("rhs")
def _(dy, data, indices, indptr, t_data, t_indices, t_indptr, shape):
    return (_csr_dot(dy, t_data, t_indices, t_indptr, data, indices, indptr, shape=shape[::-1]),)


class CSRNDArray:
    """A matrix of which only some elements are stored, row after row; made by ``nd.sparse.csr_matrix``.

    Attributes
    ----------
    data : NDArray
        The stored elements.
    indices : NDArray
        Their columns; int64.
    indptr : NDArray
        Where each row begins among them, and where the last one ends; int64.
    shape : tuple of int
        Rows and columns.
    """

    __slots__ = ("_transposed", "data", "indices", "indptr", "shape")
    __array_priority__ = 1000.0
    stype = "csr"
    ndim = 2
    grad = None

    def __init__(self, data: NDArray, indices: NDArray, indptr: NDArray, shape: tuple[int, int]):
        self.data, self.indices, self.indptr, self.shape = data, indices, indptr, shape
        #: The transposed matrix's arrays, and the versions of the memory that they were made from.
        self._transposed: tuple | None = None

    @property
    def dtype(self) -> type:
        """Element type, as a numpy scalar type."""
        return self.data.dtype

    @property
    def context(self) -> Context:
        """The device that holds the arrays."""
        return self.data.context

    ctx = context

    def asnumpy(self) -> np.ndarray:
        """The dense matrix as a numpy array."""
        return self.tostype("default").asnumpy()

    def asscipy(self):
        """A copy as ``scipy.sparse.csr_matrix``; needs SciPy."""
        host = tuple(a.asnumpy() for a in self._parts())
        return importlib.import_module("scipy.sparse").csr_matrix(host, shape=self.shape)

    def tostype(self, stype: str):
        """The matrix in storage type ``'default'`` (an NDArray), or a copy of it in ``'csr'``."""
        return cast_storage(self, stype)

    def copy(self) -> "CSRNDArray":
        """A copy with memory of its own."""
        return _matrix((identity(a.detach()) for a in self._parts()), self.shape)

    def astype(self, dtype, copy: bool = True) -> "CSRNDArray":
        """The matrix with its elements converted; itself where it has that dtype and no copy is wanted."""
        name = dtypes.resolve(dtype, "astype").name
        if not copy and name == self.data._view.dtype.name:
            return self
        return CSRNDArray(cast(self.data.detach(), dtype=name), self.indices, self.indptr, self.shape)

    def as_in_context(self, context: Context) -> "CSRNDArray":
        """The matrix itself if it is on that device, else a copy there."""
        if context == self.context:
            return self
        return _matrix((as_in_context(a, context) for a in self._parts()), self.shape)

    as_in_ctx = as_in_context

    def wait_to_read(self) -> None:
        """Wait until the elements have been computed."""
        self.data.wait_to_read()

    def _parts(self) -> tuple[NDArray, NDArray, NDArray]:
        return self.data, self.indices, self.indptr

    def transposed(self) -> tuple:
        """data, indices and indptr of the transposed matrix; made once, and anew after a write in place."""
        parts = self._parts()
        versions = [(a._view.storage, a._view.storage.version) for a in parts]
        if self._transposed is None or self._transposed[0] != versions:
            recording = tape.set_recording(False)
            try:
                found = _csr_transpose(*(a.detach() for a in parts), shape=self.shape)
            finally:
                tape.set_recording(recording)
            self._transposed = versions, tuple(found)
        return self._transposed[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"\n<CSRNDArray {self.shape[0]}x{self.shape[1]} @{self.context}>"

    __str__ = __repr__

    def __getitem__(self, key) -> "CSRNDArray":
        """A row, as a matrix of one row, or a range of rows."""
        rows = self.shape[0]
        if isinstance(key, int | np.integer):
            if not -rows <= key < rows:
                raise IndexError(f"indexing: {key} is out of bounds for {rows} rows")
            key = slice(int(key) % rows, int(key) % rows + 1)
        if not isinstance(key, slice) or key.step not in (None, 1):
            raise argument_error("indexing", "key", repr(key), "a row or a range of rows of a CSRNDArray")
        begin, end, _ = key.indices(rows)
        if end <= begin:
            raise argument_error("indexing", "key", repr(key), "at least one row")
        first, last = (int(_part(self.indptr, i, 1)) for i in (begin, end))
        data, indices = (identity(_part(a, first, last - first)) for a in (self.data, self.indices))
        indptr = _part(self.indptr, begin, end - begin + 1) - first
        return CSRNDArray(data, indices, indptr, (end - begin, self.shape[1]))

    def __getattr__(self, name: str):
        # NDArray's methods and what asks for them: what is no attribute of either is none here.
        if name.startswith("__") or not hasattr(NDArray, name):
            raise AttributeError(f"'CSRNDArray' object has no attribute {name!r}")
        raise AbsentError(f"{name}: {_accepted('the array', 'csr')}")


def _accepted(argument: str, stype: str) -> str:
    return f"{argument} has storage type {stype!r}; accepted: 'default' (convert with tostype)"


def _absent(name: str):
    def method(self, *others):
        raise AbsentError(f"{name}: {_accepted('an operand', 'csr')}")

    return method


for _name in ("add", "sub", "mul", "truediv", "mod", "pow", "matmul"):
    for _form in (f"__{_name}__", f"__r{_name}__"):
        setattr(CSRNDArray, _form, _absent(_name))
for _name in ("neg", "abs", "setitem", "iter", "bool"):
    setattr(CSRNDArray, f"__{_name}__", _absent(_name))


def _part(vector: NDArray, begin: int, size: int) -> NDArray:
    """Elements of a vector, outside of the graph."""
    if size == 0:
        return array.empty((0,), vector._view.dtype, vector.context)
    return take_slice(vector.detach(), (begin,), (1,), (size,))


def _matrix(parts: Iterable[NDArray], shape: tuple[int, int]) -> CSRNDArray:
    data, indices, indptr = parts
    return CSRNDArray(data, indices, indptr, shape)


@composite(sparse=True)
def cast_storage(data, stype):
    """The matrix in another storage type: ``'default'`` (dense) or ``'csr'``, which leaves zeros out.

    To ``'csr'``, the host waits for the number of elements that are not 0; no gradient flows through.

    Raises
    ------
    AbsentError
        Another storage type.
    OperatorError
        No matrix.
    """
    if stype not in _KINDS:
        raise AbsentError(f"cast_storage: stype is {stype!r}; accepted: 'default', 'csr'")
    if isinstance(data, CSRNDArray):
        if stype == "csr":
            return data.copy()
        return _csr_dense(*(a.detach() for a in data._parts()), shape=data.shape)
    if stype == "default":
        return identity(data)
    if data.ndim != 2:
        raise argument_error("cast_storage", "data", f"of shape {data.shape}", "a matrix for csr")
    data = data.detach()
    indptr = _csr_pointers(data)
    terms = int(_part(indptr, data.shape[0], 1))
    values, indices = _csr_compress(data, indptr, terms=terms)
    return CSRNDArray(values, indices, indptr, data.shape)


def csr_dot(lhs: CSRNDArray, rhs: NDArray, transpose_a: bool, transpose_b: bool) -> NDArray:
    """lhs rhs, or lhs^T rhs, of a compressed and a dense matrix or vector; differentiable by rhs."""
    if not isinstance(rhs, NDArray):
        raise AbsentError(f"dot: {_accepted('rhs', getattr(rhs, 'stype', type(rhs).__name__))}")
    if transpose_b:
        raise AbsentError("dot: transpose_b is True; accepted: False where lhs has storage type 'csr'")
    terms = lhs.shape[0] if transpose_a else lhs.shape[1]
    if rhs.ndim not in (1, 2) or rhs.shape[0] != terms:
        raise argument_error(
            "dot", "rhs", f"of shape {rhs.shape}", f"{terms} rows to go with lhs {lhs.shape}"
        )
    if rhs._view.dtype != lhs.data._view.dtype:
        raise argument_error("dot", "rhs", f"{rhs._view.dtype}", f"{lhs.data._view.dtype}, lhs's dtype")
    matrix = rhs if rhs.ndim == 2 else with_shape(rhs, shape=(terms, 1))
    own = tuple(a.detach() for a in lhs._parts())
    shape = lhs.shape
    if transpose_a:
        y = _csr_dot(matrix, *lhs.transposed(), *own, shape=shape[::-1])
    elif tape.state.recording and rhs._entry is not None:
        y = _csr_dot(matrix, *own, *lhs.transposed(), shape=shape)
    else:
        y = _csr_dot(matrix, *own, shape=shape)
    return y if rhs.ndim == 2 else with_shape(y, shape=(y.shape[0],))


def csr_matrix(arg1, shape=None, ctx: Context | None = None, dtype=None) -> CSRNDArray:
    """A matrix in compressed rows.

    Parameters
    ----------
    arg1 : NDArray, CSRNDArray, numpy.ndarray, SciPy matrix, nested sequence, or tuple
        A matrix, whose zeros are left out; (data, indices, indptr); (data, (row, column)), of which
        elements at one place are added; or (rows, columns), for a matrix without elements.
    shape : (int, int), optional
        Rows and columns; by default as few as there must be.
    ctx : Context, optional
        The device; the current context by default.
    dtype : str or type, optional
        By default that of the elements, where they are an array, else float32.

    Raises
    ------
    OperatorError
        Indices outside of the shape, or arrays whose sizes do not fit.

    Examples
    --------
    >>> import clgrad as mx
    >>> a = mx.nd.sparse.csr_matrix(([3, 4], [2, 0], [0, 1, 2]), shape=(2, 3))
    >>> mx.nd.dot(a, mx.nd.ones((3, 1))).asnumpy()
    array([[3.],
           [4.]], dtype=float32)
    """
    if isinstance(arg1, tuple) and len(arg1) == 3:
        return _of_parts(*arg1, shape, ctx, dtype)
    if isinstance(arg1, tuple) and len(arg1) == 2:
        if isinstance(arg1[1], list | tuple):
            row, column = arg1[1]
            return _of_places(arg1[0], row, column, shape, ctx, dtype)
        return zeros("csr", arg1, ctx, dtype)
    if isinstance(arg1, CSRNDArray):
        result = arg1.copy().as_in_context(ctx or arg1.context)
        result = result if dtype is None else result.astype(dtype)
    elif hasattr(arg1, "tocsr"):  # SciPy's
        scipy = arg1.tocsr()
        return _of_parts(scipy.data, scipy.indices, scipy.indptr, shape or scipy.shape, ctx, dtype)
    else:
        elements, dtype = _elements(arg1, dtype)
        result = cast_storage(array.from_host(elements, dtype, ctx), "csr")
    if shape is not None and tuple(shape) != result.shape:
        raise argument_error("csr_matrix", "shape", tuple(shape), f"{result.shape}, that of the matrix")
    return result


def _elements(source, dtype) -> tuple[np.ndarray, np.dtype]:
    """Elements on the host, and the dtype that they are to have."""
    host = source.asnumpy() if isinstance(source, NDArray) else np.asarray(source)
    own = host.dtype if isinstance(source, NDArray | np.ndarray) else "float32"
    return host, dtypes.resolve(own if dtype is None else dtype, "csr_matrix")


def _whole(argument: str, source) -> np.ndarray:
    """A vector of whole numbers on the host."""
    host = np.asarray(source.asnumpy() if isinstance(source, NDArray) else source)
    if host.ndim != 1 or (host.size and (host != np.floor(host)).any()):
        raise argument_error("csr_matrix", argument, f"of shape {host.shape}", "a vector of whole numbers")
    return host.astype(csr.INDEX)


def _of_parts(data, indices, indptr, shape, ctx, dtype) -> CSRNDArray:
    """From the three arrays, checked: kernels trust them."""
    values, dtype = _elements(data, dtype)
    columns, begins = _whole("indices", indices), _whole("indptr", indptr)
    if shape is None:
        shape = (len(begins) - 1, int(columns.max(initial=-1)) + 1)
    shape = tuple(int(n) for n in shape)
    if values.shape != columns.shape:
        raise argument_error(
            "csr_matrix", "data", f"of shape {values.shape}", f"{columns.shape}, as indices"
        )
    rising = len(begins) == shape[0] + 1 and begins[0] == 0 and (np.diff(begins) >= 0).all()
    if not rising or begins[-1] != len(columns):
        accepted = f"{shape[0] + 1} numbers that rise from 0 to {len(columns)}"
        raise argument_error("csr_matrix", "indptr", begins.tolist()[:8], accepted)
    if ((columns < 0) | (columns >= shape[1])).any():
        raise argument_error("csr_matrix", "indices", columns.tolist()[:8], f"0 to {shape[1] - 1}")
    parts = ((values, dtype), (columns, csr.INDEX), (begins, csr.INDEX))
    return _matrix((array.from_host(host, kind, ctx) for host, kind in parts), shape)


def _of_places(data, row, column, shape, ctx, dtype) -> CSRNDArray:
    """From elements and their places, in any order."""
    values, dtype = _elements(data, dtype)
    rows, columns = _whole("row", row), _whole("column", column)
    if not values.shape == rows.shape == columns.shape:
        given = f"{values.shape}, {rows.shape}, {columns.shape}"
        raise argument_error("csr_matrix", "data, row, column", f"of shapes {given}", "equal shapes")
    if shape is None:
        shape = tuple(int(a.max(initial=-1)) + 1 for a in (rows, columns))
    if ((rows < 0) | (rows >= shape[0])).any():
        raise argument_error("csr_matrix", "row", rows.tolist()[:8], f"0 to {shape[0] - 1}")
    order = np.lexsort((columns, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    if len(rows):
        first = np.flatnonzero(np.r_[True, (np.diff(rows) != 0) | (np.diff(columns) != 0)])
        rows, columns, values = rows[first], columns[first], np.add.reduceat(values, first)
    begins = np.r_[0, np.cumsum(np.bincount(rows, minlength=shape[0]))]
    return _of_parts(values, columns, begins, shape, ctx, dtype)


def zeros(stype: str, shape, ctx: Context | None = None, dtype=None):
    """A matrix of zeros in a storage type, ``'default'`` or ``'csr'``; of the latter, nothing is stored."""
    if stype not in _KINDS:
        raise AbsentError(f"sparse.zeros: stype is {stype!r}; accepted: 'default', 'csr'")
    kind = dtypes.resolve("float32" if dtype is None else dtype, "sparse.zeros")
    dense = tuple(int(n) for n in shape) if isinstance(shape, list | tuple) else (int(shape),)
    if stype == "default":
        return array.from_host(np.zeros(dense), kind, ctx)
    if len(dense) != 2 or min(dense) < 0:
        raise OperatorError(f"sparse.zeros: shape is {shape}; accepted: (rows, columns) for csr")
    return _of_parts(np.empty(0), np.empty(0), np.zeros(dense[0] + 1), dense, ctx, kind)


def array_of(source_array, ctx: Context | None = None, dtype=None) -> CSRNDArray:
    """A matrix in compressed rows, from one of this package or of SciPy."""
    if not isinstance(source_array, CSRNDArray) and not hasattr(source_array, "tocsr"):
        given = type(source_array).__name__
        raise argument_error("sparse.array", "source_array", given, "a CSRNDArray or a SciPy matrix")
    return csr_matrix(source_array, None, ctx, dtype)
