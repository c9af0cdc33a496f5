"""Trainer: an optimizer that steps the parameters of a net, on one device or several."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clgrad import deferred, files, nested
from clgrad.array import NDArray
from clgrad.autograd import pause
from clgrad.device import Context
from clgrad.errors import (
    AbsentError,
    MXNetError,
    OperatorError,
    OperatorTypeError,
    argument_error,
)
from clgrad.gluon.arguments import number
from clgrad.gluon.parameter import Parameter, ParameterDict
from clgrad.kvstore import KVStore
from clgrad.kvstore import create as create_store
from clgrad.optimizer import Optimizer, Updater, get_updater
from clgrad.optimizer import create as create_optimizer
from clgrad.ranges import Range


class StaleGradientError(MXNetError, UserWarning):
    """A step would use a gradient that backward has not filled since the last one (MXNet: UserWarning)."""


class Trainer:
    """Steps parameters along their gradients.

    Parameters
    ----------
    params : ParameterDict, dict or list of Parameter
        Those of a net are its ``collect_params()``. They are initialised, if only deferred.
    optimizer : str or Optimizer
    optimizer_params : dict, optional
        Arguments of the optimizer that a name stands for.
    kvstore : str or KVStore, optional
        What adds up gradients of several devices: 'device' (default), 'local', 'dist_sync' (of this process
        alone). With None each device steps by its own.
    compression_params : None
        Refused otherwise: no gradient leaves the process.
    update_on_kvstore : bool, optional
        Whether the store steps the copy of the first device, which the others then get. By default each
        device steps its own by the same sum, unless the optimizer's steps would differ (SGLD, Nadam).

    Raises
    ------
    OperatorError
        Parameters on different devices, or arguments beside an optimizer.
    OperatorTypeError
        Something else than parameters.

    Examples
    --------
    >>> import clgrad as mx
    >>> net = mx.gluon.nn.Dense(1, in_units=2)
    >>> net.initialize(mx.init.One())
    >>> trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
    >>> with mx.autograd.record():
    ...     loss = net(mx.nd.ones((4, 2))).sum()
    >>> loss.backward()
    >>> trainer.step(batch_size=4)
    >>> net.weight.data().asnumpy()
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(
        self,
        params,
        optimizer,
        optimizer_params: Mapping[str, Any] | None = None,
        kvstore: str | KVStore | None = "device",
        compression_params: object = None,
        update_on_kvstore: bool | None = None,
    ):
        self._params = _parameters(params)
        if compression_params is not None:
            raise AbsentError("Trainer: compression_params are given; no gradient leaves the process")
        if not isinstance(kvstore, str | KVStore | None):
            raise OperatorTypeError(f"Trainer: kvstore is {kvstore!r}; accepted: str, KVStore or None")
        if update_on_kvstore and kvstore is None:
            raise argument_error("Trainer", "update_on_kvstore", True, "False or None without a kvstore")
        self._contexts = self._find_contexts()
        self._optimizer = self._made(optimizer, optimizer_params or {})
        self._updaters = [get_updater(self._optimizer) for _ in self._contexts]
        #: The optimizer's own factor of gradients, which the batch size divides.
        self._scale = self._optimizer.rescale_grad
        self._kvstore_given, self._update_given = kvstore, update_on_kvstore
        self._update_on_kvstore = bool(update_on_kvstore)
        self._kvstore: KVStore | None = None

    def _made(self, given, arguments: Any) -> Optimizer:
        if not isinstance(arguments, Mapping):
            kind = type(arguments).__name__
            raise OperatorTypeError(f"Trainer: optimizer_params is {kind}; accepted: a dict, or None")
        by_index = dict(enumerate(self._params))
        if not isinstance(given, Optimizer):
            return create_optimizer(given, param_dict=by_index, **arguments)
        if arguments:
            accepted = "none beside an Optimizer, which has its own"
            raise argument_error("Trainer", "optimizer_params", dict(arguments), accepted)
        given.param_dict = by_index
        return given

    def _find_contexts(self) -> list[Context]:
        """The devices of the parameters."""
        contexts: list[Context] = []
        for parameter in self._params:
            found = parameter.list_ctx()
            if contexts and found != contexts:
                accepted = f"{contexts}, as those before"
                raise argument_error("Trainer", f"parameter {parameter.name}", f"on {found}", accepted)
            contexts = found
        return contexts

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""
        return self._optimizer

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, before the factors of parameters."""
        return self._optimizer.learning_rate

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate; refused where the optimizer has a scheduler."""
        self._optimizer.set_learning_rate(lr)

    # Steps

    def step(self, batch_size: float, ignore_stale_grad: bool = False) -> None:
        """Add up the gradients of all devices, and step: gradients are divided by the batch size.

        Parameters
        ----------
        batch_size : int or float
            What gradients are divided by: how many examples the loss was summed over.
        ignore_stale_grad : bool
            Leave parameters as they are whose gradient backward has not filled since the last step.

        Raises
        ------
        StaleGradientError
            There is such a parameter; nothing has changed.
        """
        with Range("Trainer.step", "phase"):
            self._begin(batch_size)
            fresh = self._fresh(ignore_stale_grad)
            with pause():
                self._allreduce_grads(fresh)
                self._update(fresh)

    def allreduce_grads(self) -> None:
        """Add up the gradients of all devices, in place: for work on the sums before :meth:`update`."""
        self._prepare()
        self._refuse_on_kvstore("allreduce_grads")
        with pause():
            self._allreduce_grads([i for i, p in enumerate(self._params) if p.grad_req != "null"])

    def update(self, batch_size: float, ignore_stale_grad: bool = False) -> None:
        """Step by gradients that :meth:`allreduce_grads` has added up; see :meth:`step`."""
        self._begin(batch_size)
        self._refuse_on_kvstore("update")
        fresh = self._fresh(ignore_stale_grad)
        with pause():
            self._update(fresh)

    def _refuse_on_kvstore(self, method: str) -> None:
        if self._update_on_kvstore:
            raise OperatorError(f"Trainer.{method}: update_on_kvstore is True; accepted: False or None")

    def _begin(self, batch_size: Any) -> None:
        if not number("Trainer.step", "batch_size", batch_size) > 0:
            raise argument_error("Trainer.step", "batch_size", repr(batch_size), "a number above 0")
        deferred.host(self._rescale, batch_size)
        self._prepare()

    def _rescale(self, batch_size: float) -> None:
        self._optimizer.rescale_grad = self._scale / batch_size

    def _fresh(self, ignore_stale_grad: bool) -> list[int]:
        """The parameters to step, which have gradients that backward has filled."""
        found = []
        for i, parameter in enumerate(self._params):
            if parameter.grad_req == "null":
                continue
            stale = [data for data in parameter.list_data() if not _variable(data).fresh]
            if stale and not ignore_stale_grad:
                raise StaleGradientError(
                    f"Trainer.step: backward has not filled the gradient of parameter {parameter.name} on "
                    f"{stale[0].context} since the last step; is it part of the loss? "
                    "ignore_stale_grad=True leaves such parameters as they are"
                )
            if not stale:
                found.append(i)
        return found

    def _allreduce_grads(self, members: Sequence[int]) -> None:
        if self._kvstore is None:
            return
        for i in members:
            parameter = self._params[i]
            grads = parameter.list_grad()
            targets = parameter.list_data() if self._update_on_kvstore else grads
            self._kvstore._keep(i, targets[0])
            self._kvstore.pushpull(i, grads, out=targets)

    def _update(self, members: Sequence[int]) -> None:
        for position, updater in enumerate(self._updaters):
            weights = [self._params[i].list_data()[position] for i in members]
            if not self._update_on_kvstore:
                grads = [self._params[i].list_grad()[position] for i in members]
                updater(list(members), grads, weights)
            deferred.host(_use_up, [_variable(weight) for weight in weights])

    def _follow_contexts(self) -> None:
        """Where parameters have moved, the states move with them."""
        if not self._params or self._params[0].list_ctx() == self._contexts:
            return
        contexts = self._find_contexts()
        before = self._updaters[0]
        self._optimizer._carry_counts()
        self._contexts, self._updaters = contexts, [get_updater(self._optimizer) for _ in contexts]
        for updater in self._updaters:
            updater.states = nested.replaced(before.states, _copied)
            updater.states_synced = dict.fromkeys(updater.states, False)

    def _prepare(self) -> None:
        """Follow parameters to other devices; have a store where there are several, or if one is wanted."""
        self._follow_contexts()
        if self._kvstore is not None or self._kvstore_given is None:
            return
        given, several = self._kvstore_given, len(self._contexts) > 1
        if self._update_given is None and several:
            self._update_on_kvstore = not self._optimizer._STEPS_ALIKE
        if isinstance(given, str):
            if not several and not self._update_on_kvstore and "dist" not in given:
                return
            given = create_store(given)
        self._kvstore = given
        if self._update_on_kvstore:
            given.set_optimizer(self._optimizer)

    # States

    def save_states(self, fname: str | os.PathLike) -> None:
        """Write states and numbers of the optimizer to a file, whole or not at all.

        Parameters
        ----------
        fname : str or path
        """
        files.replace(Path(fname), self._state_updaters()[0].get_states(dump_optimizer=True))

    def load_states(self, fname: str | os.PathLike) -> None:
        """Take states and numbers of the optimizer from a file that :meth:`save_states` wrote.

        Raises
        ------
        MXNetError
            The file is another, damaged, or of another class of optimizer; nothing has changed.
        """
        content = Path(fname).read_bytes()
        for updater in self._state_updaters():
            updater.set_states(content)

    def _state_updaters(self) -> list[Updater]:
        self._prepare()
        if self._update_on_kvstore and self._kvstore is not None:
            return [self._kvstore._own_updater("states")]
        return self._updaters


def _variable(data: NDArray) -> Any:
    """What says whether backward has filled the gradient of a parameter's array."""
    return data._entry[0] if data._entry is not None else None


def _use_up(variables: Sequence[Any]) -> None:
    for variable in variables:
        variable.fresh = False


def _copied(state: Any) -> Any:
    return state.copy() if isinstance(state, NDArray) else state


def _parameters(params) -> list[Parameter]:
    """Parameters, each once; those of a dictionary in the order of their names, as in MXNet."""
    if isinstance(params, Mapping | ParameterDict):
        params = [params[name] for name in sorted(params.keys())]
    if not isinstance(params, list | tuple):
        given = type(params).__name__
        raise OperatorTypeError(f"Trainer: params is {given}; accepted: a dict or a list of Parameter")
    for parameter in params:
        if not isinstance(parameter, Parameter):
            given = type(parameter).__name__
            raise OperatorTypeError(f"Trainer: params holds {given}; accepted: Parameter")
    return list(dict.fromkeys(params))
