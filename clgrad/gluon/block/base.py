"""Blocks: layers and nets, as trees of children with named parameters."""

import re
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from clgrad import nested, serialization
from clgrad.errors import AbsentError, OperatorError, OperatorTypeError, argument_error
from clgrad.gluon.block.scope import BlockScope, name_block
from clgrad.gluon.block.summary import Summary
from clgrad.gluon.parameter import Parameter, ParameterDict, load_names, take_all
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
        if not callable(hook):
            raise argument_error("register_forward_hook", "hook", repr(hook), "a function")
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

    #: Whether the block only holds others, so that a summary passes over it.
    _is_container = False

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
        if isinstance(value, Parameter | Block) and "_children" not in self.__dict__:
            raise OperatorError(
                f"{type(self).__name__}.{name}: call super().__init__(**kwargs) before blocks and "
                "parameters are assigned"
            )
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
        what = f"{self._name}.register_child"
        if not isinstance(block, Block):
            raise argument_error(what, "block", type(block).__name__, "a Block")
        if block._includes(self):
            raise argument_error(what, "block", block._name, "a Block that this one is no part of")
        self._children[str(len(self._children)) if name is None else name] = block

    def _includes(self, other: "Block") -> bool:
        """Whether this block, or one below it, is another one."""
        pending = [self]
        while pending:
            block = pending.pop()
            if block is other:
                return True
            pending += block._children.values()
        return False

    def apply(self, fn: Callable[["Block"], Any]) -> "Block":
        """Call a function with each child, and then with this block, which is returned."""
        for child in self._children.values():
            child.apply(fn)
        fn(self)
        return self

    def own_code(self) -> list[Callable]:
        """What this block and all below it run when they are called: its code may read what changes."""
        blocks: list[Block] = []
        self.apply(blocks.append)
        names = ("forward", "hybrid_forward")
        return [getattr(b, name) for b in blocks for name in names if hasattr(b, name)]

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
        try:
            matches = re.compile(select or "").match
        except (re.error, TypeError) as error:
            raise argument_error(
                f"{self._name}.collect_params", "select", repr(select), f"a regular expression ({error})"
            ) from None
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
        by_attribute = any("." in name or name in names for name in loaded)
        if loaded and not by_attribute:  # names of parameters
            exported = all(name.startswith(("arg:", "aux:")) for name in loaded)
            prefix = "" if exported else self.prefix
            self.collect_params().load_dict(
                loaded, ctx, *options, prefix, filename, cast_dtype, dtype_source
            )
        else:
            take_all(names, loaded, str(filename), ctx, *options, cast_dtype, dtype_source)

    def save_params(self, filename) -> None:
        """MXNet's older :meth:`save_parameters`, by names of parameters without the block's prefix."""
        warnings.warn("save_params is deprecated; call save_parameters", stacklevel=2)
        self.collect_params().save(filename, strip_prefix=self.prefix)

    def load_params(
        self, filename, ctx=None, allow_missing: bool = False, ignore_extra: bool = False
    ) -> None:
        """MXNet's older :meth:`load_parameters`."""
        warnings.warn("load_params is deprecated; call load_parameters", stacklevel=2)
        self.load_parameters(filename, ctx, allow_missing, ignore_extra)

    def save(self, prefix) -> None:
        """Raise AbsentError: MXNet writes names of blocks here, which ``load`` gives to another net."""
        raise AbsentError(f"{self._name}.save: accepted: save_parameters, or export of a HybridBlock")

    def load(self, prefix) -> None:
        """Raise AbsentError: see :meth:`save`."""
        raise AbsentError(f"{self._name}.load: accepted: load_parameters, or SymbolBlock.imports")

    # Running

    def register_op_hook(self, callback: Callable, monitor_all: bool = False) -> None:
        """Raise AbsentError: blocks have hooks, and ops have none."""
        raise AbsentError(
            f"{self._name}.register_op_hook: ops have no hooks; accepted: register_forward_hook of blocks, "
            "or clgrad.profiler, which sees every launch"
        )

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


def _holds(value: Any, children: set[int]) -> bool:
    """Whether a container holds a block that is none of these."""
    return any(id(block) not in children for block in nested.leaves(value, Block))
