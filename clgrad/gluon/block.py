"""Blocks: layers and nets, as trees of children with named parameters."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from clgrad import nd, serialization, symbol
from clgrad.array import NDArray
from clgrad.capturing import Captured
from clgrad.device import Context, current_context
from clgrad.errors import MXNetError, OperatorError, OperatorTypeError, argument_error
from clgrad.gluon import structure
from clgrad.gluon.parameter import DeferredInitializationError, Parameter
from clgrad.gluon.parameter_dict import ParameterDict, brief, load_names, take_all
from clgrad.gluon.scope import BlockScope, name_block
from clgrad.gluon.summary import Summary
from clgrad.ranges import Range


def indent(text: str) -> str:
    """A text of several lines, with all but the first moved in."""
    return text.replace("\n", "\n  ")


def describe_children(block: Any, children: Any) -> str:
    """MXNet's ``repr`` of a block with children: pairs of name and block."""
    lines = "\n".join(f"  ({key}): {indent(repr(child))}" for key, child in children)
    return f"{type(block).__name__}(\n{lines}\n)"


class HookHandle:
    """What registering a hook gives: ``detach()``, or leaving it as a ``with`` scope, removes the hook."""

    _numbers = count()

    def __init__(self, hooks: dict[int, Callable], hook: Callable):
        self._hooks = hooks
        self._number = next(self._numbers)
        hooks[self._number] = hook

    def detach(self) -> None:
        """Remove the hook; nothing happens the second time."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> "HookHandle":
        return self

    def __exit__(self, *exception) -> None:
        self.detach()


class Block:
    """A layer or a net: assign children and parameters as attributes, and write :meth:`forward`.

    Parameters
    ----------
    prefix : str, optional
        What names of parameters begin with; by default the class and a number, as ``dense0_``.
    params : ParameterDict, optional
        Another block's ``params`` or ``collect_params()``, to share parameters with it.

    Examples
    --------
    >>> import clgrad as mx
    >>> from clgrad.gluon import nn
    >>> class Net(mx.gluon.Block):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         with self.name_scope():
    ...             self.hidden = nn.Dense(8, activation="relu")
    ...             self.output = nn.Dense(2)
    ...
    ...     def forward(self, x):
    ...         return self.output(self.hidden(x))
    >>> net = Net(prefix="net_")
    >>> net.initialize()
    >>> net(mx.nd.ones((4, 3))).shape
    (4, 2)
    >>> list(net.collect_params().keys())
    ['net_dense0_weight', 'net_dense0_bias', 'net_dense1_weight', 'net_dense1_bias']
    """

    def __init__(self, prefix: str | None = None, params: ParameterDict | None = None):
        self._empty_prefix = prefix == ""
        self._prefix, self._params = name_block(prefix, params, self._alias())
        self._name = self._prefix.removesuffix("_")
        #: Children made in the name scope, by the hints of their names.
        self._child_counts: Counter[str] = Counter()
        self._children: dict[str, Block] = {}
        self._reg_params: dict[str, Parameter] = {}
        self._forward_hooks: dict[int, Callable] = {}
        self._forward_pre_hooks: dict[int, Callable] = {}

    def _alias(self) -> str:
        return type(self).__name__.lower()

    def __repr__(self) -> str:
        return describe_children(self, [(k, v) for k, v in self.__dict__.items() if isinstance(v, Block)])

    def __setattr__(self, name: str, value: Any) -> None:
        existing = getattr(self, name, None)
        if isinstance(existing, Parameter | Block) and not isinstance(value, type(existing)):
            raise OperatorTypeError(
                f"{self._name}.{name} is a {type(existing).__name__}, and cannot become a "
                f"{type(value).__name__}"
            )
        if isinstance(value, Block):
            self.register_child(value, name)
        elif isinstance(value, Parameter):
            if self._reg_params.get(name, value) is not value:
                raise OperatorError(
                    f"{self._name}.{name} is another parameter already; to share one, give `params` when "
                    "the block is made"
                )
            self._reg_params[name] = value
        super().__setattr__(name, value)

    @property
    def prefix(self) -> str:
        """What names of parameters and children begin with."""
        return self._prefix

    @property
    def name(self) -> str:
        """The prefix without the underscore at its end."""
        return self._name

    @property
    def params(self) -> ParameterDict:
        """The block's own parameters, without those of its children."""
        return self._params

    def name_scope(self) -> BlockScope:
        """A ``with`` scope: blocks made in it have names that begin with this one's prefix."""
        return BlockScope(self)

    # The tree

    def register_child(self, block: "Block", name: str | None = None) -> None:
        """Make a block a child; assigning it to an attribute does the same."""
        if not isinstance(block, Block):
            raise argument_error(f"{self._name}.register_child", "block", type(block).__name__, "a Block")
        self._children[str(len(self._children)) if name is None else name] = block

    def apply(self, fn: Callable[["Block"], Any]) -> "Block":
        """Call a function with each child, and then with this block, which is returned."""
        for child in self._children.values():
            child.apply(fn)
        fn(self)
        return self

    def collect_params(self, select: str | None = None) -> ParameterDict:
        """The parameters of the block and of all below it.

        Parameters
        ----------
        select : str, optional
            A regular expression: only parameters whose names begin with a match.

        Examples
        --------
        >>> from clgrad.gluon import nn
        >>> list(nn.Dense(2, prefix="out_").collect_params(".*bias|.*scale").keys())
        ['out_bias']
        """
        self._warn_of_containers()
        found = ParameterDict(self._params.prefix)
        matches = re.compile(select or "").match
        found.update({name: p for name, p in self.params.items() if matches(name)})
        for child in self._children.values():
            found.update(child.collect_params(select))
        return found

    def _warn_of_containers(self) -> None:
        """Warn of blocks in lists and dictionaries, which are not children."""
        children = set(map(id, self._children.values()))
        for name, value in self.__dict__.items():
            if name != "_children" and isinstance(value, list | tuple | dict) and _holds(value, children):
                warnings.warn(
                    f"{type(self).__name__}.{name} holds blocks that are no children, so their parameters "
                    "are not found; call register_child, or use Sequential",
                    stacklevel=3,
                )

    def _collect_params_with_prefix(self, prefix: str = "") -> dict[str, Parameter]:
        """Parameters by the attributes that lead to them, as ``hidden.weight``: their names in files."""
        dotted = f"{prefix}." if prefix else ""
        found = {dotted + name: parameter for name, parameter in self._reg_params.items()}
        for name, child in self._children.items():
            found.update(child._collect_params_with_prefix(dotted + name))
        return found

    def initialize(self, init=None, ctx=None, verbose: bool = False, force_reinit: bool = False) -> None:
        """Initialise all parameters: see :meth:`ParameterDict.initialize`."""
        self.collect_params().initialize(init, ctx, verbose, force_reinit)

    def cast(self, dtype) -> None:
        """Convert all parameters to another dtype."""
        for child in self._children.values():
            child.cast(dtype)
        for parameter in self.params.values():
            parameter.cast(dtype)

    def hybridize(self, active: bool = True, **kwargs: Any) -> None:
        """Hybridize the children: see :meth:`HybridBlock.hybridize`."""
        for child in self._children.values():
            child.hybridize(active, **kwargs)

    # Files

    def save_parameters(self, filename, deduplicate: bool = False) -> None:
        """Write all parameters to a file in MXNet's format, whole or not at all.

        Parameters
        ----------
        filename : str or path
        deduplicate : bool, default False
            Write a parameter that several blocks share once only.
        """
        names = self._collect_params_with_prefix()
        if deduplicate:
            last = {id(parameter): name for name, parameter in names.items()}
            names = {name: p for name, p in names.items() if last[id(p)] == name}
        serialization.save(filename, {name: p._reduce() for name, p in names.items()})

    def load_parameters(
        self,
        filename,
        ctx=None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """Take all parameters from a file; where one does not fit, none is taken.

        Parameters
        ----------
        filename : str or path
            What :meth:`save_parameters` wrote, here or in MXNet, or an export of the same net.
        ctx : Context or list of Context, optional
            Where parameters that are not initialised yet go.
        allow_missing : bool, default False
            Leave parameters alone that the file lacks.
        ignore_extra : bool, default False
            Leave out what is in the file and not here.
        cast_dtype : bool, default False
            Accept other dtypes, and convert.
        dtype_source : str, default 'current'
            Which dtype counts then: the parameter's, or the one ``'saved'``.

        Raises
        ------
        MXNetError
            The file is none of arrays with names, or is damaged, or does not fit.
        """
        loaded = load_names(filename)
        names = self._collect_params_with_prefix()
        options = (allow_missing, ignore_extra)
        if loaded and not any("." in name for name in loaded):  # names of parameters, not of attributes
            exported = all(name.startswith(("arg:", "aux:")) for name in loaded)
            prefix = "" if exported else self.prefix
            self.collect_params().load_dict(
                loaded, ctx, *options, prefix, filename, cast_dtype, dtype_source
            )
        else:
            take_all(names, loaded, str(filename), ctx, *options, cast_dtype, dtype_source)

    # Running

    def register_forward_pre_hook(self, hook: Callable) -> HookHandle:
        """Have ``hook(block, inputs)`` called before each forward."""
        return HookHandle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable) -> HookHandle:
        """Have ``hook(block, inputs, outputs)`` called after each forward."""
        return HookHandle(self._forward_hooks, hook)

    def __call__(self, *args):
        """Run :meth:`forward`, and the hooks."""
        if self._forward_pre_hooks:
            for hook in tuple(self._forward_pre_hooks.values()):
                hook(self, args)
        if Range.recorder is None:
            outputs = self._run(*args)
        else:  # a profile is on
            with Range(self.name, "block"):
                outputs = self._run(*args)
        if self._forward_hooks:
            for hook in tuple(self._forward_hooks.values()):
                hook(self, args, outputs)
        return outputs

    def _run(self, *args):
        return self.forward(*args)

    def forward(self, *args):
        """What the block computes; every block has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def summary(self, *inputs) -> None:
        """Print layers, shapes of what they give, and numbers of parameters.

        Parameters
        ----------
        *inputs : NDArray
            What the net is run on.

        Raises
        ------
        OperatorError
            The net is hybridized.

        Examples
        --------
        >>> import clgrad as mx
        >>> net = mx.gluon.nn.Dense(2)
        >>> net.initialize()
        >>> net.summary(mx.nd.ones((4, 3)))  # doctest: +ELLIPSIS
        ---...
                Layer (type)                                Output Shape         Param #
        ===...
                       Input                                      (4, 3)               0
                     Dense-1                                      (4, 2)               8
        ===...
        """
        summary, handles = Summary(inputs), []
        blocks: list[Block] = []
        self.apply(blocks.append)
        for block in blocks:
            if getattr(block, "_active", False):
                raise OperatorError(f"{block.name}: summary needs a net that is not hybridized")
        try:
            for block in blocks:
                if not block._is_container:
                    handles.append(block.register_forward_hook(summary.hook))
            self(*inputs)
        finally:
            for handle in handles:
                handle.detach()
        print(summary)  # noqa: T201

    #: Whether the block only holds others, so that a summary passes over it.
    _is_container = False


def _holds(value: Any, children: set[int]) -> bool:
    """Whether a container holds a block that is none of these."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return isinstance(value, Block) and id(value) not in children
    return any(_holds(v, children) for v in value)


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
        #: What hybridize was told of how to compile: static_alloc and others.
        self._flags: dict[str, Any] = {}
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
        self._flags = {
            "static_alloc": static_alloc,
            "static_shape": static_shape,
            "inline_limit": inline_limit,
            "forward_bulk_size": forward_bulk_size,
            "backward_bulk_size": backward_bulk_size,
        }
        if clear:
            self._clear_cached()
        super().hybridize(active, backend=backend, clear=clear, **self._flags, **kwargs)

    def cast(self, dtype) -> None:
        """Convert all parameters to another dtype."""
        self._clear_cached()
        super().cast(dtype)

    def _clear_cached(self) -> None:
        """Forget what was compiled."""
        self._arguments = None
        self._captured = None

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
            self._captured = Captured(self.forward, reads_of=self._own_code)
        return self._captured(*args)

    def _own_code(self) -> list[Callable]:
        """What the block and those below it compute: code that may read what changes."""
        blocks: list[Block] = []
        self.apply(blocks.append)
        return [b.hybrid_forward for b in blocks if isinstance(b, HybridBlock)]

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
        if not structure.leaves(args, symbol.Symbol):
            raise OperatorTypeError(
                f"{self._name}: no input is an NDArray; accepted: at least one, among x and the others"
            )
        parameters = {name: p.var() for name, p in self._reg_params.items()}
        with self.name_scope():
            return self.hybrid_forward(symbol, *args, **parameters)

    def _graph(self, args: Any) -> tuple[list[symbol.Symbol], symbol.Symbol]:
        """Symbols of the inputs, and of what the block makes of them, for trimmed arguments."""
        arguments, inputs = structure.with_symbols(args, symbol.var)
        outputs = structure.leaves(self.forward(*arguments), symbol.Symbol)
        return inputs, outputs[0] if len(outputs) == 1 else symbol.Group(outputs)

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
        arrays = structure.leaves(args, NDArray)
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
        if self._arguments is None:
            raise OperatorError(
                f"{self._name}.export: call hybridize(), and the net once, so that its inputs are known"
            )
        _, graph = self._graph(self._arguments)
        states, names = set(graph.list_auxiliary_states()), set(graph.list_inputs())
        arrays = {}
        for name, parameter in self.collect_params().items():
            if name in names:
                arrays[f"{'aux' if name in states else 'arg'}:{name}"] = parameter._reduce()
            else:
                warnings.warn(f"{self._name}.export: {name} is not used, and left out", stacklevel=2)
        serialization.save(f"{os.fspath(path)}-{epoch:04d}.params", arrays)
        graph.save(f"{os.fspath(path)}-symbol.json")
