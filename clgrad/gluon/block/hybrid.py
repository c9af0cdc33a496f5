"""Blocks that can be compiled and exported, beside :class:`Block` of :mod:`.base_block`."""

import os
import warnings
from collections.abc import Callable
from typing import Any

from clgrad import nd, nested, serialization, symbol
from clgrad.array import NDArray
from clgrad.capturing import Captured
from clgrad.device import Context, current_context
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError
from clgrad.gluon.block import structure
from clgrad.gluon.block.base import Block
from clgrad.gluon.parameter import DeferredInitializationError, Parameter, ParameterDict, brief


class HybridBlock(Block):
    """A block that can be compiled: ``hybrid_forward(F, x, *args, **parameters)`` says what it computes.

    ``F`` is :mod:`clgrad.nd`, and ``parameters`` are the block's own, by the attributes that hold
    them, on the device of the input. A block may override ``forward`` instead.

    Examples
    --------
    >>> import clgrad as mx
    >>> class Scale(mx.gluon.HybridBlock):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.factor = self.params.get("factor", shape=(1,), init="ones")
    ...
    ...     def hybrid_forward(self, F, x, factor):
    ...         return F.broadcast_mul(x, factor)
    >>> net = Scale()
    >>> net.initialize()
    >>> net.hybridize()
    >>> net(mx.nd.array([1, 2])).asnumpy()
    array([1., 2.], dtype=float32)
    """

    def __init__(self, prefix: str | None = None, params: ParameterDict | None = None):
        super().__init__(prefix, params)
        self._active = False
        #: The forward pass, captured, while the block is hybridized.
        self._captured: Captured | None = None
        #: What a hybridized call was given, without the arrays.
        self._arguments: Any = None

    def register_child(self, block: Block, name: str | None = None) -> None:
        """Make a block a child; it must be a HybridBlock as well."""
        if not isinstance(block, HybridBlock):
            raise OperatorTypeError(
                f"{self._name}: a child is a {type(block).__name__}; accepted: HybridBlock (of Sequential, "
                "HybridSequential)"
            )
        super().register_child(block, name)
        self._clear_cached()

    def hybridize(
        self,
        active: bool = True,
        backend: str | None = None,
        clear: bool = True,
        static_alloc: bool = False,
        static_shape: bool = False,
        inline_limit: int = 2,
        forward_bulk_size: int | None = None,
        backward_bulk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Have the block, and all below it, compiled at its next call; results stay the same.

        Parameters
        ----------
        active : bool, default True
            False: go back to running op by op.
        backend : str, optional
            Accepted for MXNet's sake; there is one.
        clear : bool, default True
            Forget what was compiled before.
        static_alloc, static_shape, inline_limit, forward_bulk_size, backward_bulk_size
            MXNet's hints; they change no result.
        **kwargs
            Options of MXNet's backends; without effect.
        """
        self._active = bool(active)
        hints = {
            "static_alloc": static_alloc,
            "static_shape": static_shape,
            "inline_limit": inline_limit,
            "forward_bulk_size": forward_bulk_size,
            "backward_bulk_size": backward_bulk_size,
        }
        if clear:
            self._clear_cached()
        for child in self._children.values():
            if active and (child._forward_hooks or child._forward_pre_hooks):
                warnings.warn(
                    f"{self._name}: hooks of {child.name} are not called while {self._name} is hybridized",
                    stacklevel=2,
                )
        super().hybridize(active, backend=backend, clear=clear, **hints, **kwargs)

    def optimize_for(
        self,
        x,
        *args,
        backend: str | None = None,
        clear: bool = False,
        static_alloc: bool = False,
        static_shape: bool = False,
        inline_limit: int = 2,
        forward_bulk_size: int | None = None,
        backward_bulk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Hybridize the block, and make its parameters for these inputs, without running it.

        Parameters
        ----------
        x, *args : NDArray
            As the block is called with; their values do not count.
        backend : None
            MXNet rewrites the graph for one of its backends; here there are none.
        clear, static_alloc, static_shape, inline_limit, forward_bulk_size, backward_bulk_size, **kwargs
            As in :meth:`hybridize`.

        Raises
        ------
        AbsentError
            A backend is given.
        OperatorError
            Shapes of parameters do not follow from those of the inputs.
        """
        if backend is not None:
            raise AbsentError(
                f"{self._name}.optimize_for: backend is {backend!r}; accepted: None, as there are none here"
            )
        self.hybridize(
            clear=clear,
            static_alloc=static_alloc,
            static_shape=static_shape,
            inline_limit=inline_limit,
            forward_bulk_size=forward_bulk_size,
            backward_bulk_size=backward_bulk_size,
            **kwargs,
        )
        deferred = [p for p in self.collect_params().values() if p._deferred is not None]
        if deferred:
            self.infer_shape(x, *args)
        for parameter in deferred:
            parameter._finish_deferred_init()
        self._arguments = structure.trimmed((x, *args))

    def cast(self, dtype) -> None:
        """Convert all parameters to another dtype."""
        self._clear_cached()
        super().cast(dtype)

    def _clear_cached(self) -> None:
        """Forget what was compiled."""
        self._arguments = None
        self._captured = None

    def __getstate__(self) -> dict[str, Any]:
        """All but what was compiled."""
        return self.__dict__ | {"_captured": None}

    def _run(self, *args):
        if not self._active or structure.context_of(*args) is None:  # symbols are not computed
            return self.forward(*args)
        if self._arguments is None:
            self._arguments = structure.trimmed(args)
        return self._call_cached(*args)

    def _call_cached(self, *args):
        """A call of a hybridized block: captured, once all parameters have their shapes."""
        if self._captured is None:
            if any(p._deferred is not None for p in self.collect_params().values()):
                return self.forward(*args)
            self._captured = Captured(self.forward, reads_of=self.own_code, may_branch=True)
        return self._captured(*args)

    def forward(self, x, *args):
        """Run :meth:`hybrid_forward` with the parameters on the input's device, or as symbols."""
        context = x.context if isinstance(x, NDArray) else structure.context_of(x, *args)
        if context is None:
            return self._compose(x, *args)
        if context is current_context():
            return self._forward_on(context, x, *args)
        with context:
            return self._forward_on(context, x, *args)

    def _forward_on(self, context: Context, x, *args):
        """Run :meth:`hybrid_forward` in the scope of a context."""
        if not self._reg_params:
            return self.hybrid_forward(nd, x, *args)
        try:
            parameters = {name: p.data(context) for name, p in self._reg_params.items()}
        except DeferredInitializationError:
            self._finish_deferred_init(x, *args)
            parameters = {name: p.data(context) for name, p in self._reg_params.items()}
        return self.hybrid_forward(nd, x, *args, **parameters)

    def hybrid_forward(self, F, x, *args, **kwargs):
        """What the block computes of its inputs and its own parameters; every block has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no hybrid_forward")

    # Graphs

    def _compose(self, *args):
        """Apply the block to symbols."""
        if not nested.leaves(args, symbol.Symbol):
            raise OperatorTypeError(
                f"{self._name}: no input is an NDArray; accepted: at least one, among x and the others"
            )
        parameters = {name: p.var() for name, p in self._reg_params.items()}
        with self.name_scope():
            return self.hybrid_forward(symbol, *args, **parameters)

    def _graph(self, args: Any) -> tuple[list[symbol.Symbol], symbol.Symbol]:
        """Symbols of the inputs, and of what the block makes of them, for trimmed arguments."""
        arguments, inputs = structure.with_symbols(args, symbol.var)
        outputs = nested.leaves(self.forward(*arguments), symbol.Symbol)
        return inputs, outputs[0] if len(outputs) == 1 else symbol.Group(outputs)

    def _whole_graph(self) -> symbol.Symbol:
        """What a hybridized call has computed, as a symbol."""
        if self._arguments is None:
            raise OperatorError(
                f"{self._name}.export: call hybridize(), and the net once, so that its inputs are known"
            )
        return self._graph(self._arguments)[1]

    def _finish_deferred_init(self, *args) -> None:
        try:
            self.infer_shape(*args)
        except MXNetError as error:
            raise OperatorError(
                f"{self._name}: the shapes of {brief(self._reg_params)} do not follow from the input: "
                f"{error}"
            ) from error
        for parameter in self._reg_params.values():
            parameter._finish_deferred_init()

    def infer_shape(self, *args) -> None:
        """Set the shapes of all parameters by those of the inputs.

        Parameters
        ----------
        *args : NDArray
            As the block is called with; their values do not count.

        Raises
        ------
        OperatorError
            The shapes do not follow from those of the inputs, or contradict.
        """
        self._infer(args, lambda parameter, spec: setattr(parameter, "shape", spec.shape))

    def infer_type(self, *args) -> None:
        """Set the dtypes of all parameters by those of the inputs: see :meth:`infer_shape`."""
        self._infer(args, lambda parameter, spec: parameter.cast(spec.dtype))

    def _infer(self, args: tuple, take: Callable[[Parameter, Any], Any]) -> None:
        inputs, outputs = self._graph(structure.trimmed(args))
        arrays = nested.leaves(args, NDArray)
        used = outputs.list_inputs()
        given = {s.name: a for s, a in zip(inputs, arrays, strict=True) if s.name in used}
        shapes = {name: array.shape for name, array in given.items()}
        types = {name: array._view.dtype for name, array in given.items()}
        specs = symbol.infer_arguments(outputs, shapes, types)
        for parameter in self.collect_params().values():
            if parameter.name in specs:
                take(parameter, specs[parameter.name])

    def export(self, path: str | os.PathLike, epoch: int = 0, remove_amp_cast: bool = True) -> None:
        """Write the net's graph and parameters to files that MXNet reads, and :meth:`SymbolBlock.imports`.

        Parameters
        ----------
        path : str or path
            Files are ``PATH-symbol.json`` and ``PATH-0000.params``.
        epoch : int, default 0
            The number in the second name.
        remove_amp_cast : bool, default True
            Accepted for MXNet's sake.

        Raises
        ------
        OperatorError
            The block was not hybridized and called, so it is not known what inputs it takes.
        AttributeError, OperatorTypeError
            ``hybrid_forward`` needs arrays, and does not take symbols.

        Examples
        --------
        >>> import clgrad as mx
        >>> import os, tempfile
        >>> net = mx.gluon.nn.Dense(2)
        >>> net.initialize()
        >>> net.hybridize()
        >>> y = net(mx.nd.ones((4, 3)))
        >>> path = os.path.join(tempfile.mkdtemp(), "net")
        >>> net.export(path)
        >>> again = mx.gluon.SymbolBlock.imports(f"{path}-symbol.json", "data", f"{path}-0000.params")
        >>> bool((again(mx.nd.ones((4, 3))) == y).asnumpy().all())
        True
        """
        graph = self._whole_graph()
        states, names = set(graph.list_auxiliary_states()), set(graph.list_inputs())
        arrays = {}
        for name, parameter in self.collect_params().items():
            if name in names:
                arrays[f"{'aux' if name in states else 'arg'}:{name}"] = parameter._reduce()
            else:
                warnings.warn(f"{self._name}.export: {name} is not used, and left out", stacklevel=2)
        serialization.save(f"{os.fspath(path)}-{epoch:04d}.params", arrays)
        graph.save(f"{os.fspath(path)}-symbol.json")
