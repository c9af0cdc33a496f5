"""Blocks made of a graph: nets that were exported, by MXNet or here, and parts of nets."""

import os
from collections.abc import Sequence
from typing import Any

from clgrad import nested, symbol
from clgrad.array import NDArray
from clgrad.errors import OperatorError, OperatorTypeError, argument_error
from clgrad.gluon.block.hybrid import HybridBlock
from clgrad.gluon.parameter import DeferredInitializationError, ParameterDict
from clgrad.symbol import Symbol


class SymbolBlock(HybridBlock):
    """A block that runs a symbol's graph; arguments that are no inputs are its parameters.

    Parameters
    ----------
    outputs : Symbol or list of Symbol
    inputs : Symbol or list of Symbol
        Arguments of the graph.
    params : ParameterDict, optional
        Where parameters are looked for first, by their names in the graph.

    Raises
    ------
    OperatorError, OperatorTypeError
        An input is no argument.

    Examples
    --------
    >>> import clgrad as mx
    >>> from clgrad.gluon import nn
    >>> net = nn.HybridSequential(prefix="net_")
    >>> with net.name_scope():
    ...     net.add(nn.Dense(8, activation="relu"), nn.Dense(2))
    >>> net.initialize()
    >>> data = mx.sym.var("data")
    >>> hidden = net(data).get_internals()["net_dense0_relu_fwd_output"]
    >>> features = mx.gluon.SymbolBlock(hidden, data, params=net.collect_params())
    >>> features(mx.nd.ones((4, 3))).shape
    (4, 8)
    """

    def __init__(
        self,
        outputs: Symbol | Sequence[Symbol],
        inputs: Symbol | Sequence[Symbol],
        params: ParameterDict | None = None,
    ):
        super().__init__()
        self._prefix = ""
        self._params = ParameterDict("", params)
        parts = _symbols("outputs", outputs)
        self._outputs = parts[0] if len(parts) == 1 else symbol.Group(parts)
        self._inputs = _names(_symbols("inputs", inputs))
        states = self._outputs.list_auxiliary_states()
        for name in (*self._outputs.list_arguments(), *states):
            if name not in self._inputs:
                found = self.params.get(name, allow_deferred_init=True)
                if name in states:
                    found.grad_req = "null"
        shared = _length_of_common_prefix(list(self.params.keys()))
        self._reg_params = {name[shared:]: parameter for name, parameter in self.params.items()}

    @staticmethod
    def imports(
        symbol_file: str | os.PathLike,
        input_names: str | Sequence[str],
        param_file: str | os.PathLike | None = None,
        ctx: Any = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
    ) -> "SymbolBlock":
        """The net that :meth:`HybridBlock.export` wrote, here or in MXNet.

        Parameters
        ----------
        symbol_file : str or path
            ``NAME-symbol.json``.
        input_names : str or list of str
            Arguments of the graph that are no parameters; ``'data'`` where there is one.
        param_file : str or path, optional
            ``NAME-0000.params``; without it, initialise the parameters.
        ctx : Context or list of Context, optional
            Where they go; the current context by default.
        allow_missing : bool, default False
            Leave parameters out that the file lacks.
        ignore_extra : bool, default False
            Leave out what is in the file and not in the graph.

        Raises
        ------
        MXNetError
            A file is damaged, or they do not fit each other.
        AbsentError
            The graph has an op that clgrad lacks.
        """
        graph = symbol.load(symbol_file)
        names = [input_names] if isinstance(input_names, str) else list(input_names)
        known = graph.list_inputs()
        for name in names:
            if name not in known:
                raise argument_error(
                    "SymbolBlock.imports", "input_names", repr(name), f"arguments: {', '.join(known)}"
                )
        block = SymbolBlock(graph, [symbol.var(name) for name in names])
        if param_file is not None:
            block.collect_params().load(
                param_file, ctx, allow_missing, ignore_extra, cast_dtype=True, dtype_source="saved"
            )
        return block

    def forward(self, x, *args):
        """Run the graph on arrays, or put symbols in the place of its inputs."""
        given = nested.leaves([x, *args], NDArray | Symbol)
        if len(given) != len(self._inputs):
            raise OperatorTypeError(
                f"{self._name}: {len(given)} inputs given; accepted: {', '.join(self._inputs)}"
            )
        if not isinstance(given[0], NDArray):
            outputs = self._outputs(**dict(zip(self._inputs, given, strict=True)))
            return outputs if len(outputs) == 1 else list(outputs)
        context = given[0].context
        with context:
            try:
                arrays = {name: p.data(context) for name, p in self.params.items()}
            except DeferredInitializationError:
                self._finish_deferred_init(x, *args)
                arrays = {name: p.data(context) for name, p in self.params.items()}
            results = self._outputs.evaluate({**arrays, **dict(zip(self._inputs, given, strict=True))})
        return results[0] if len(results) == 1 else results

    def reset_ctx(self, ctx: Any) -> None:
        """Move the parameters to other contexts: see :meth:`Parameter.reset_ctx`."""
        self.collect_params().reset_ctx(ctx)

    def _graph(self, args: Any) -> tuple[list[Symbol], Symbol]:
        return [symbol.var(name) for name in self._inputs], self._outputs

    def _whole_graph(self) -> Symbol:
        return self._outputs

    def __repr__(self) -> str:
        counts = f"{len(self._inputs)} -> {len(self._outputs)}"
        return f"{type(self).__name__}(\n{self._outputs!r} : {counts}\n)"


def _symbols(argument: str, given: Any) -> list[Symbol]:
    """One symbol, or those of a list."""
    symbols = list(given) if isinstance(given, list | tuple) else [given]
    for one in symbols:
        if not isinstance(one, Symbol):
            raise OperatorTypeError(
                f"SymbolBlock: {argument} holds {type(one).__name__}; accepted: a Symbol, or a list of them"
            )
    return symbols


def _names(inputs: list[Symbol]) -> list[str]:
    """Names of the symbols, each of which is an argument."""
    for given in inputs:
        if len(given) != 1 or given.list_inputs() != given.list_outputs():
            raise OperatorError(f"SymbolBlock: the input {given!r} is computed; accepted: an argument")
    return [given.list_inputs()[0] for given in inputs]


def _length_of_common_prefix(names: list[str]) -> int:
    first, last = min(names, default=""), max(names, default="")
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
