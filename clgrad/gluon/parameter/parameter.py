"""Parameters of blocks: arrays that learn, on one device or several, made once their shapes are known."""

import warnings
from typing import Any

from clgrad import dtypes, initializer, nd, symbol
from clgrad.array import NDArray
from clgrad.autograd import mark_variables, pause
from clgrad.autograd.variables import GRAD_REQS
from clgrad.device import Context, current_context
from clgrad.errors import AbsentError, MXNetError, OperatorError, argument_error
from clgrad.gluon.parameter.initialisation import Deferred, Shape, as_contexts, as_shape, is_known
from clgrad.ops.generator import generator


class DeferredInitializationError(MXNetError):
    """A parameter is asked for before the first forward pass has told its shape."""


class Parameter:
    """An array that a block learns, with a copy and a gradient on each of its contexts.

    Parameters
    ----------
    name : str
    grad_req : str, default 'write'
        ``'write'`` overwrites the gradient in each backward pass, ``'add'`` adds to it (call
        :meth:`zero_grad` in between), ``'null'`` has none.
    shape : int or tuple of int, optional
        0 or -1 stands for a size that is not known yet.
    dtype : str or type, default 'float32'
    lr_mult, wd_mult : float, default 1
        Factors of the learning rate and of the weight decay for this parameter.
    init : Initializer or str, optional
        How to fill it; by default as :meth:`initialize` is told.
    allow_deferred_init : bool, default False
        Whether :meth:`initialize` may wait until the first forward pass tells the shape.
    differentiable : bool, default True
        False for what is no function's argument, such as running statistics: ``grad_req`` stays 'null'.
    stype, grad_stype : str, default 'default'
        Arrays are dense; a sparse ``grad_stype`` is accepted, and the gradient is dense.

    Examples
    --------
    >>> import clgrad as mx
    >>> weight = mx.gluon.Parameter("weight", shape=(2, 3))
    >>> weight.initialize(mx.init.One())
    >>> weight
    Parameter weight (shape=(2, 3), dtype=float32)
    >>> with mx.autograd.record():
    ...     y = (weight.data() * 5).sum()
    >>> y.backward()
    >>> weight.grad().asnumpy()
    array([[5., 5., 5.],
           [5., 5., 5.]], dtype=float32)
    """

    def __init__(
        self,
        name: str,
        grad_req: str = "write",
        shape=None,
        dtype: Any = "float32",
        lr_mult: float = 1.0,
        wd_mult: float = 1.0,
        init=None,
        allow_deferred_init: bool = False,
        differentiable: bool = True,
        stype: str = "default",
        grad_stype: str = "default",
    ):
        if stype != "default":
            raise AbsentError(f"Parameter {name}: stype is {stype!r}; accepted: 'default', dense storage")
        if grad_stype not in ("default", "row_sparse", "csr"):
            raise argument_error(
                f"Parameter {name}", "grad_stype", repr(grad_stype), "default, row_sparse, csr"
            )
        self._data: dict[Context, NDArray] | None = None
        self._grad: dict[Context, NDArray] | None = None
        self._deferred: Deferred | None = None
        self._var: symbol.Symbol | None = None
        self._differentiable = differentiable
        self._allow_deferred_init = allow_deferred_init
        self.name = name
        self._shape = as_shape(name, shape)
        self._dtype = dtypes.resolve(dtype, f"Parameter {name}")
        self.lr_mult = lr_mult
        self.wd_mult = wd_mult
        self.init = init
        self._grad_req = "null"
        self.grad_req = grad_req

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.name} (shape={self.shape}, dtype={self._dtype})"

    def _error(self, problem: str) -> OperatorError:
        return OperatorError(f"{type(self).__name__} {self.name}: {problem}")

    @property
    def grad_req(self) -> str:
        """How backward fills the gradient: ``'write'``, ``'add'`` or ``'null'``; may be set at any time."""
        return self._grad_req

    @grad_req.setter
    def grad_req(self, req: str) -> None:
        if req not in GRAD_REQS:
            raise self._error(f"grad_req is {req!r}; accepted: {', '.join(GRAD_REQS)}")
        if not self._differentiable:
            req = "null"
        if req != self._grad_req:
            self._grad_req = req
            self._make_grad()

    @property
    def dtype(self) -> type:
        """Element type, as a numpy scalar type; setting it converts the value."""
        return self._dtype.type

    @dtype.setter
    def dtype(self, dtype) -> None:
        self.cast(dtype)

    @property
    def shape(self) -> Shape | None:
        """Sizes of the axes, 0 or -1 where unknown; None if not even their number is known."""
        return self._shape

    @shape.setter
    def shape(self, shape) -> None:
        new = as_shape(self.name, shape)
        if not self._accepts(new):
            raise self._error(f"shape is {new}; accepted: {self._shape}, with any size for 0 and -1")
        if new != self._shape:
            self._shape = new
            self._var = None

    def _accepts(self, shape: Shape | None) -> bool:
        """Whether a shape says the same where this one is known."""
        known = self._shape
        if known is None or shape is None:
            return known is None
        return len(known) == len(shape) and all(a in (0, -1, b) for a, b in zip(known, shape, strict=True))

    # Initialisation

    def initialize(self, init=None, ctx=None, default_init=None, force_reinit: bool = False) -> None:
        """Make the arrays and fill them; where the shape is not known yet, when it is.

        Parameters
        ----------
        init : Initializer or str, optional
            How to fill them, whatever the name; by default the parameter's ``init``, else ``default_init``.
        ctx : Context or list of Context, optional
            Where to have a copy; the current context by default. All copies start equal.
        default_init : Initializer or str, optional
            ``Uniform(0.07)`` by default.
        force_reinit : bool, default False
            Fill anew what is initialised already, which by default is left alone, with a warning.

        Raises
        ------
        OperatorError
            The shape is not known, and the parameter may not wait for it.
        """
        if self._data is not None and not force_reinit:
            warnings.warn(
                f"Parameter {self.name} is already initialised, and left as it is; pass force_reinit=True "
                "to initialise it again",
                stacklevel=2,
            )
            return
        contexts = as_contexts(ctx)
        default_init = default_init or initializer.Uniform()
        if init is None:
            init = default_init if self.init is None else self.init
        if not is_known(self._shape) and not self._allow_deferred_init:
            raise self._error(f"cannot be initialised, because its shape is {self._shape}; give all sizes")
        deferred = Deferred(init, contexts, default_init, None)
        if is_known(self._shape):
            self._make_data(deferred)
            return
        self._data = self._grad = None
        self._deferred = deferred

    def _finish_deferred_init(self) -> None:
        """Make and fill the arrays, if they are waited for.

        Raises
        ------
        OperatorError
            The shape is still not known.
        """
        deferred = self._deferred
        if deferred is None:
            return
        if not is_known(self._shape):
            raise self._error(
                f"cannot be initialised, because its shape is {self._shape}; give in_units, in_channels "
                "and the like to the layer"
            )
        self._make_data(deferred)

    def _make_data(self, deferred: Deferred) -> None:
        """Make and fill the arrays; where that fails, all is as it was."""
        with pause(), generator.apart():  # a checkpoint that is called again must find them made
            data = deferred.data
            if data is None:
                data = nd.zeros(self._shape, ctx=deferred.contexts[0], dtype=self._dtype)
                with deferred.contexts[0]:
                    self._fill(data, deferred)
            self._place(data, deferred.contexts)
        self._deferred = None

    def _fill(self, data: NDArray, deferred: Deferred) -> None:
        described = initializer.InitDesc(self.name, {"__init__": deferred.init})
        initializer.create(deferred.default_init)(described, data)

    def _place(self, data: NDArray, contexts: list[Context]) -> None:
        """Have a copy of the data on each context, and a gradient."""
        data = data.astype(self._dtype, copy=False)
        self._data = {c: data.copyto(c) for c in contexts}
        self._make_grad()

    def _make_grad(self) -> None:
        if self._data is None:
            return
        with pause():
            if self._grad_req == "null":
                self._grad = None
                self._data = {c: array.detach() for c, array in self._data.items()}
                return
            self._grad = {c: nd.zeros_like(array) for c, array in self._data.items()}
        self._mark()

    def _mark(self) -> None:
        if self._data is not None and self._grad is not None:
            mark_variables(list(self._data.values()), list(self._grad.values()), self._grad_req)

    def reset_ctx(self, ctx=None) -> None:
        """Move to other contexts: the mean of the copies is copied to each.

        Parameters
        ----------
        ctx : Context or list of Context, optional
            The current context by default.

        Raises
        ------
        OperatorError
            The parameter is not initialised.
        """
        contexts = as_contexts(ctx)
        if self._data is not None:
            with pause():
                self._place(self._reduce(), contexts)
        elif self._deferred is not None:
            self._deferred = self._deferred._replace(contexts=contexts)
        else:
            raise self._error("cannot change its context, because it is not initialised")

    def _reduce(self) -> NDArray:
        """The mean of the copies, on the first context."""
        arrays = self.list_data()
        with pause():
            first = arrays[0].detach()
            if len(arrays) == 1:
                return first
            return nd.add_n(*[a.as_in_context(first.context) for a in arrays]) / len(arrays)

    # Values

    def _find(self, arrays: dict[Context, NDArray] | None, ctx: Context | None) -> NDArray:
        if arrays is None:
            raise self._missing()
        if ctx is None:
            if len(arrays) == 1:
                return next(iter(arrays.values()))
            ctx = current_context()
        found = arrays.get(ctx)
        if found is None:
            raise self._error(f"is not on {ctx}; it was initialised on {', '.join(map(str, arrays))}")
        return found

    def _missing(self) -> MXNetError:
        if self._data is not None:
            return self._error("has no gradient, because its grad_req is 'null'")
        if self._deferred is not None:
            return DeferredInitializationError(
                f"Parameter {self.name} has no value yet: its shape is {self._shape} until the first "
                "forward pass; pass a batch through the net, or give in_units, in_channels and the like"
            )
        return self._error("is not initialised; call initialize() of the block, or of collect_params()")

    def data(self, ctx: Context | None = None) -> NDArray:
        """The array on a context.

        Parameters
        ----------
        ctx : Context, optional
            By default the only one, or else the current context.

        Raises
        ------
        DeferredInitializationError
            The shape is not known before the first forward pass.
        OperatorError
            The parameter is not initialised, or not on that context.
        """
        if self._data is not None and ctx in self._data:
            return self._data[ctx]
        return self._find(self._data, ctx)

    def list_data(self) -> list[NDArray]:
        """The arrays on all contexts, in the order in which they were given."""
        if self._data is None:
            raise self._missing()
        return list(self._data.values())

    def grad(self, ctx: Context | None = None) -> NDArray:
        """The gradient on a context; raises as :meth:`data`, and where ``grad_req`` is 'null'."""
        return self._find(self._grad, ctx)

    def list_grad(self) -> list[NDArray]:
        """The gradients on all contexts."""
        if self._grad is None:
            raise self._missing()
        return list(self._grad.values())

    def list_ctx(self) -> list[Context]:
        """The contexts that the parameter is on, or will be."""
        if self._data is not None:
            return list(self._data)
        if self._deferred is not None:
            return list(self._deferred.contexts)
        raise self._missing()

    def row_sparse_data(self, row_id) -> NDArray:
        """Raise AbsentError: parameters are dense."""
        raise AbsentError(f"Parameter {self.name}: row_sparse_data: parameters are dense; accepted: data()")

    def list_row_sparse_data(self, row_id) -> list[NDArray]:
        """Raise AbsentError: parameters are dense."""
        raise AbsentError(
            f"Parameter {self.name}: list_row_sparse_data: parameters are dense; accepted: list_data()"
        )

    def set_data(self, data) -> None:
        """Give the parameter this value on all contexts, now or when it is initialised.

        Parameters
        ----------
        data : NDArray or numpy.ndarray
            Of the parameter's shape, where that is known; converted to its dtype.

        Raises
        ------
        OperatorError
            The shape is another, or the parameter is not initialised.
        """
        if not isinstance(data, NDArray):
            data = nd.array(data, dtype=self._dtype)
        if self._data is None and self._deferred is None:
            raise self._missing()
        self.shape = data.shape
        if self._data is None:
            assert self._deferred is not None
            self._deferred = self._deferred._replace(data=data)
            return
        for array in self._data.values():
            array[:] = data

    def zero_grad(self) -> None:
        """Fill the gradients with 0; nothing happens where there are none."""
        for gradient in (self._grad or {}).values():
            with pause():
                gradient[:] = 0

    def cast(self, dtype) -> None:
        """Convert value and gradient to another dtype.

        Parameters
        ----------
        dtype : str or type
        """
        self._dtype = dtypes.resolve(dtype, f"Parameter {self.name}")
        if self._data is None:
            return
        with pause():
            self._data = {c: array.astype(self._dtype) for c, array in self._data.items()}
            if self._grad is not None:
                self._grad = {c: array.astype(self._dtype) for c, array in self._grad.items()}
        self._mark()

    def var(self) -> symbol.Symbol:
        """The parameter as a symbol's argument: always the same one, as long as its shape stays."""
        if self._var is None:
            init = self.init.dumps() if hasattr(self.init, "dumps") else self.init
            self._var = symbol.var(
                self.name,
                shape=self._shape,
                lr_mult=self.lr_mult,
                wd_mult=self.wd_mult,
                dtype=self._dtype,
                init=init,
            )
        return self._var

    # Copies and pickles

    def __getstate__(self) -> dict[str, Any]:
        """All but arrays, of which one stands for those of all contexts."""
        placed = None if self._data is None else (self._reduce(), list(self._data))
        left_out = dict.fromkeys(("_data", "_grad", "_var"))
        return self.__dict__ | left_out | {"_placed": placed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        placed = state.pop("_placed")
        self.__dict__.update(state)
        if placed is not None:
            with pause():
                self._place(*placed)

    # Loading

    def _check_load(self, data: NDArray, ctx, cast_dtype: bool, source: str) -> None:
        """Raise where a loaded array does not fit; changes nothing."""
        what = f"cannot be loaded from {source}"
        if not self._accepts(data.shape):
            raise self._error(f"{what}: it has the shape {self._shape}, and the saved array {data.shape}")
        if not cast_dtype and data._view.dtype != self._dtype:
            raise self._error(
                f"{what}: it has the dtype {self._dtype}, and the saved array {data._view.dtype}; pass "
                "cast_dtype=True to convert it"
            )
        is_placed = self._data is not None or self._deferred is not None
        if ctx is not None and is_placed and set(as_contexts(ctx)) != set(self.list_ctx()):
            raise self._error(f"{what} to {ctx}, because it was initialised on {self.list_ctx()}")

    def _load(self, data: NDArray, ctx, dtype_source: str) -> None:
        """Take a loaded array that :meth:`_check_load` has accepted."""
        if dtype_source == "saved" and data._view.dtype != self._dtype:
            self.cast(data._view.dtype)
        if self._data is not None:
            with pause():
                self.set_data(data)
            return
        contexts = self._deferred.contexts if self._deferred is not None else as_contexts(ctx)
        self.shape = data.shape
        with pause():
            self._place(data, contexts)
        self._deferred = None
