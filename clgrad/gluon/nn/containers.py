"""Blocks that hold others, and blocks made of one function."""

from collections.abc import Callable, Iterator
from typing import Any

from clgrad import nd
from clgrad.errors import OperatorTypeError, argument_error
from clgrad.gluon.block import Block, HybridBlock, describe_children


class _Stack(Block):
    """What Sequential and HybridSequential share: children by position."""

    _is_container = True

    def add(self, *blocks: Block) -> None:
        """Put blocks on top of the stack."""
        for block in blocks:
            self.register_child(block)

    def __repr__(self) -> str:
        return describe_children(self, self._children.items())

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Block]:
        return iter(self._children.values())

    def __getitem__(self, key: int | slice) -> Any:
        layers = list(self._children.values())[key]
        if not isinstance(layers, list):
            return layers
        stack = type(self)(prefix=self._prefix)
        with stack.name_scope():
            stack.add(*layers)
        return stack


class Sequential(_Stack):
    """Blocks one after the other.

    Examples
    --------
    >>> import clgrad as mx
    >>> from clgrad.gluon import nn
    >>> net = nn.Sequential()
    >>> with net.name_scope():
    ...     net.add(nn.Dense(8, activation="relu"), nn.Dense(2))
    >>> net.initialize()
    >>> net(mx.nd.ones((4, 3))).shape
    (4, 2)
    >>> net[0]
    Dense(3 -> 8, Activation(relu))
    """

    def forward(self, x):
        """Run the blocks on x, one after the other."""
        for block in self._children.values():
            x = block(x)
        return x


class HybridSequential(_Stack, HybridBlock):
    """HybridBlocks one after the other, which can be compiled together: see :class:`Sequential`."""

    def hybrid_forward(self, F, x):
        """Run the blocks on x, one after the other."""
        for block in self._children.values():
            x = block(x)
        return x


class Concurrent(Sequential):
    """Blocks side by side, each on the same input; their results are joined.

    Parameters
    ----------
    axis : int, default -1
        Where to join.

    Examples
    --------
    >>> import clgrad as mx
    >>> from clgrad.gluon import contrib
    >>> net = contrib.nn.Concurrent()
    >>> net.add(contrib.nn.Identity(), contrib.nn.Identity())
    >>> net(mx.nd.ones((4, 3))).shape
    (4, 6)
    """

    def __init__(self, axis: int = -1, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.axis = axis

    def forward(self, x):
        """Run all blocks on x, and join what they give."""
        return nd.concat(*[block(x) for block in self._children.values()], dim=self.axis)


class HybridConcurrent(HybridSequential):
    """HybridBlocks side by side, each on the same input: see :class:`Concurrent`."""

    def __init__(self, axis: int = -1, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.axis = axis

    def hybrid_forward(self, F, x):
        """Run all blocks on x, and join what they give."""
        return F.concat(*[block(x) for block in self._children.values()], dim=self.axis)


class Identity(HybridBlock):
    """Gives its input."""

    def hybrid_forward(self, F, x):
        """Return x."""
        return x


def _check_function(layer: str, function: Any) -> None:
    if isinstance(function, str):
        if not callable(getattr(nd, function, None)):
            raise argument_error(layer, "function", repr(function), "the name of an op of nd")
    elif not callable(function):
        raise OperatorTypeError(
            f"{layer}: function is {type(function).__name__}; accepted: a function, or the name of an op"
        )


class Lambda(Block):
    """A function of arrays as a block.

    Parameters
    ----------
    function : str or callable
        The name of an op of ``nd``, or a function of arrays.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.Lambda("tanh")(mx.nd.zeros((2,))).asnumpy()
    array([0., 0.], dtype=float32)
    """

    def __init__(self, function: str | Callable, prefix: str | None = None):
        super().__init__(prefix=prefix)
        _check_function("Lambda", function)
        self._func_impl: Callable = getattr(nd, function) if isinstance(function, str) else function

    def forward(self, *args):
        """Call the function."""
        return self._func_impl(*args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._func_impl.__name__})"


class HybridLambda(HybridBlock):
    """A function of ``F`` and arrays as a block.

    Parameters
    ----------
    function : str or callable
        The name of an op of ``F``, or a function ``f(F, x, *others)``.

    Examples
    --------
    >>> import clgrad as mx
    >>> twice = mx.gluon.nn.HybridLambda(lambda F, x: F.concat(x, x, dim=0))
    >>> twice(mx.nd.zeros((2,))).shape
    (4,)
    """

    def __init__(self, function: str | Callable, prefix: str | None = None):
        super().__init__(prefix=prefix)
        _check_function("HybridLambda", function)
        self._function = function

    def hybrid_forward(self, F, x, *args):
        """Call the function."""
        if isinstance(self._function, str):
            return getattr(F, self._function)(x, *args)
        return self._function(F, x, *args)

    def __repr__(self) -> str:
        name = self._function if isinstance(self._function, str) else self._function.__name__
        return f"{type(self).__name__}({name})"
