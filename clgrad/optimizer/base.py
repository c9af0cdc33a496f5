"""What an optimizer is: counts of updates, learning rates and weight decays of parameters, states."""

import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

from clgrad import deferred, dtypes, nd
from clgrad.array import NDArray
from clgrad.errors import AbsentError, OperatorError, OperatorTypeError
from clgrad.factory import Factory
from clgrad.lr_scheduler import LRScheduler
from clgrad.registry import table

_HALF = (dtypes.float16, dtypes.bfloat16)


class Optimizer:
    """Base class of optimizers.

    A user's own optimizer is a subclass with the methods ``create_state`` and ``update``, made known to
    :func:`create` by :func:`register`.

    Parameters
    ----------
    rescale_grad : float
        Factor of every gradient, such as 1 / batch size.
    param_idx2name : dict of int to str, optional
        Names of parameters by index. Those that end in neither ``_weight`` nor ``_gamma`` have no decay.
    wd : float
        Weight decay: wd * weight is added to the gradient.
    clip_gradient : float, optional
        Bound of the elements of a rescaled gradient; None or 0 for none.
    learning_rate : float, optional
        0.01 by default. With a scheduler, it replaces the scheduler's ``base_lr``.
    lr_scheduler : LRScheduler, optional
        Number of updates in, learning rate out.
    sym : Symbol, optional
        Accepted for MXNet's sake: clgrad's symbols carry no attributes of parameters.
    begin_num_update : int
        How many updates each parameter has had before.
    multi_precision : bool
        Step parameters of float16 and bfloat16 by copies in float32.
    param_dict : dict of int to gluon.Parameter, optional
        Parameters by index, whose ``lr_mult`` and ``wd_mult`` multiply learning rate and decay.
    """

    #: Registered classes by their names in lower case.
    opt_registry: ClassVar[dict[str, type]] = {}
    #: Whether copies on several devices stay equal if each is stepped by itself.
    _STEPS_ALIKE: ClassVar[bool] = True

    def __init__(
        self,
        rescale_grad: float = 1.0,
        param_idx2name: Mapping[int, str] | None = None,
        wd: float = 0.0,
        clip_gradient: float | None = None,
        learning_rate: float | None = None,
        lr_scheduler: LRScheduler | None = None,
        sym: object = None,
        begin_num_update: int = 0,
        multi_precision: bool = False,
        param_dict: Mapping[int, Any] | None = None,
    ):
        numbers: dict[str, object] = {"rescale_grad": rescale_grad, "wd": wd}
        numbers |= {"clip_gradient": clip_gradient or 0, "learning_rate": learning_rate or 0}
        for argument, value in numbers.items():
            if not isinstance(value, Real):
                given = f"{type(self).__name__}: {argument} is {value!r}"
                raise OperatorTypeError(f"{given}; accepted: a number")
        #: Without a scheduler.
        self.lr = 0.01 if learning_rate is None else learning_rate
        if lr_scheduler is not None and learning_rate is not None:
            lr_scheduler.base_lr = learning_rate
        self.rescale_grad, self.clip_gradient = rescale_grad, clip_gradient
        self.wd, self.lr_scheduler = wd, lr_scheduler
        self.multi_precision = multi_precision
        #: How many parameters one call of ``update`` takes; 0: one, and no lists.
        self.aggregate_num = 0
        self.begin_num_update = self.num_update = begin_num_update
        #: How many updates each parameter has had, by context: each device steps its own copies.
        self._all_index_update_counts: dict[object, dict[object, int]] = {}
        #: What a context that has not been there yet begins with.
        self._initial_counts: dict[object, int] = {}
        self._set_current_context(0)
        self.idx2name = dict(param_idx2name or {})
        self.param_dict = param_dict or {}
        self.lr_mult: dict = {}
        self.wd_mult: dict = {}
        self.set_lr_mult({})
        self.set_wd_mult({})

    # Names

    @staticmethod
    def register(klass):
        """A decorator that makes an optimizer known by its name (in lower case); returns the class."""
        return _factory.register(klass)

    @staticmethod
    def create_optimizer(name: str, **kwargs) -> "Optimizer":
        """An optimizer from its name and arguments (see :func:`create`)."""
        return _factory.named(name)(**kwargs)

    # Learning rates and decays

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update, before the factors of parameters."""
        return self.lr if self.lr_scheduler is None else self.lr_scheduler(self.num_update)

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate.

        Raises
        ------
        OperatorError
            A scheduler sets it. (MXNet raises a UserWarning.)
        """
        if self.lr_scheduler is not None:
            raise OperatorError("set_learning_rate: the optimizer has an lr_scheduler, which sets the rate")
        self.lr = lr

    def set_lr_mult(self, args_lr_mult: Mapping) -> None:
        """Set factors of the learning rate, by index or by name; those set before are forgotten."""
        self.lr_mult = dict(args_lr_mult)

    def set_wd_mult(self, args_wd_mult: Mapping) -> None:
        """Set factors of the weight decay, by index or by name; those set before are forgotten.

        Parameters with a name that ends in neither ``_weight`` nor ``_gamma`` have the factor 0 otherwise.
        """
        self.wd_mult = {n: 0.0 for n in self.idx2name.values() if not n.endswith(self._DECAYING)}
        self.wd_mult |= args_wd_mult

    _DECAYING: ClassVar[tuple[str, ...]] = ("_weight", "_gamma")

    # What changes from step to step is handed to ``deferred.host``: captured steps find it anew.

    def _get_lrs(self, indices: Sequence) -> Sequence[float]:
        """Learning rates of parameters."""
        return deferred.host(self._rates, indices)

    def _rates(self, indices: Sequence) -> list[float]:
        return self._multiplied(self.learning_rate, indices, "lr_mult")

    def _get_wds(self, indices: Sequence) -> Sequence[float]:
        """Weight decays of parameters."""
        return deferred.host(self._decays, indices)

    def _decays(self, indices: Sequence) -> list[float]:
        return self._multiplied(self.wd, indices, "wd_mult")

    def _of_gradients(self) -> dict[str, float]:
        """What gradients are multiplied by, and their bound."""
        return deferred.host(self._gradient_numbers)

    def _gradient_numbers(self) -> dict[str, float]:
        return {"rescale_grad": self.rescale_grad, "clip_gradient": self.clip_gradient or -1.0}

    def _get_lr(self, index) -> float:
        return self._get_lrs([index])[0]

    def _get_wd(self, index) -> float:
        return self._get_wds([index])[0]

    def _multiplied(self, value: float, indices: Sequence, factor: str) -> list[float]:
        own = getattr(self, factor)

        def of(index) -> float:
            if index in self.param_dict:
                return getattr(self.param_dict[index], factor)
            return own[index] if index in own else own.get(self.idx2name.get(index), 1.0)

        return [value * of(i) for i in indices]

    # Counts

    def _set_current_context(self, device_id) -> None:
        """Count the updates of another device from here on; any key that names it will do."""
        counts = self._all_index_update_counts.setdefault(device_id, dict(self._initial_counts))
        self._index_update_count = counts

    def _carry_counts(self) -> None:
        """Have devices that come later begin where those that were there are: all step together."""
        counts = list(self._all_index_update_counts.values())
        self._initial_counts = max(counts, key=len, default={})

    def _update_count(self, index) -> None:
        """Count an update of a parameter, or of each of a list."""
        deferred.host(self._count, index)

    def _count(self, index) -> int:
        for i in index if isinstance(index, list | tuple) else (index,):
            count = self._index_update_count.get(i, self.begin_num_update) + 1
            self._index_update_count[i] = count
            self.num_update = max(count, self.num_update)
        return self.num_update

    # States and steps

    def create_state(self, index, weight: NDArray) -> Any:
        """The state of a parameter: None, an array, or a tuple of these."""
        return None

    def create_state_multi_precision(self, index, weight: NDArray) -> Any:
        """The state of a parameter, behind a copy of it in float32 where ``multi_precision`` asks."""
        if self._is_copied(weight):
            copy = weight.astype("float32")
            return copy, self.create_state(index, copy)
        if weight._view.dtype in _HALF:
            warnings.warn(
                f"{type(self).__name__} steps weights of {weight._view.dtype}, where small steps are lost; "
                "multi_precision=True keeps copies in float32",
                stacklevel=2,
            )
        return self.create_state(index, weight)

    def _is_copied(self, weight: NDArray) -> bool:
        return self.multi_precision and weight._view.dtype in _HALF

    def update(self, index, weight, grad, state) -> None:
        """Step a parameter in place.

        Parameters
        ----------
        index : int
            Which parameter it is.
        weight, grad : NDArray
        state : object
            What ``create_state`` gave. With ``aggregate_num`` above 0, all four may be lists.
        """
        raise AbsentError(f"{type(self).__name__} has no method update(index, weight, grad, state)")

    def update_multi_precision(self, index, weight, grad, state) -> None:
        """Step a parameter in place, by its copy in float32 where there is one."""
        if not self._is_copied(weight):
            self.update(index, weight, grad, state)
            return
        copy, own = state
        self.update(index, copy, grad.astype("float32"), own)
        weight[:] = copy.astype(weight.dtype)

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "param_dict"}  # parameters are not copied

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = state
        self.param_dict = {}


_factory = Factory(Optimizer, "optimizer")
Optimizer.opt_registry = _factory.classes
register = Optimizer.register


def create(name: str, **kwargs) -> Optimizer:
    """An optimizer from its name and arguments.

    Parameters
    ----------
    name : str
        In upper or lower case.

    Raises
    ------
    OperatorError
        There is none of that name; the message lists those that there are.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.optimizer.create("sgd", learning_rate=0.1, momentum=0.9).momentum
    0.9
    """
    return _factory.named(name)(**kwargs)


class Fused(Optimizer):
    """Optimizers whose steps of many parameters are one op: a formula, and numbers that it takes.

    Subclasses give the op's name and numbers; states are arrays like the weight. Where the method has no
    state at all, it is None.
    """

    #: How many arrays like the weight a state is made of.
    _STATES: ClassVar[int] = 0
    #: Whether a copy in float32 stands behind the state, or in front of it.
    _COPY_BEHIND: ClassVar[bool] = False
    #: As many parameters as one launch takes, on the device with the longest lists of arguments.
    _TOGETHER: ClassVar[int] = 64

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.aggregate_num = self._TOGETHER

    def _method(self) -> str:
        """X in the name of the op, ``_multi_X_update``."""
        raise NotImplementedError

    def _shared(self) -> dict[str, float]:
        """Numbers that all parameters share, beside ``rescale_grad`` and ``clip_gradient``."""
        return {}

    def _of_each(self, indices: Sequence) -> dict[str, Sequence[float]]:
        """Numbers that each parameter has of its own, after their updates have been counted."""
        return {"lrs": self._get_lrs(indices), "wds": self._get_wds(indices)}

    def _counted(self, indices: Sequence) -> dict[str, Any]:
        """Count an update of parameters; the numbers of their step."""
        self._update_count(indices)
        return self._shared() | self._of_each(indices)

    def _counts(self, indices: Sequence) -> list[int]:
        return [self._index_update_count[i] for i in indices]

    def create_state(self, index, weight: NDArray) -> Any:
        """Zeros, as many arrays as the method has."""
        zeros = tuple(self._zeros(weight) for _ in range(self._STATES))
        return zeros or None

    @staticmethod
    def _zeros(weight: NDArray) -> NDArray:
        return nd.zeros(weight.shape, ctx=weight.context, dtype=weight.dtype)

    def create_state_multi_precision(self, index, weight: NDArray) -> Any:
        """The state of a parameter, with a copy of it in float32 where ``multi_precision`` asks."""
        state = super().create_state_multi_precision(index, weight)
        return state[::-1] if self._COPY_BEHIND and self._is_copied(weight) else state

    def update(self, index, weight, grad, state) -> None:
        """Step a parameter, or several given as lists, in place."""
        self._step(*_as_lists(index, weight, grad, state), copied=False)

    def update_multi_precision(self, index, weight, grad, state) -> None:
        """Step a parameter, or several given as lists, by copies in float32 where there are."""
        first = weight[0] if isinstance(weight, list | tuple) else weight
        if self._is_copied(first):
            self._step(*_as_lists(index, weight, grad, state), copied=True)
        else:
            self.update(index, weight, grad, state)

    def _step(self, indices, weights, grads, states, copied: bool) -> None:
        numbers = deferred.host(self._counted, indices)
        arrays = [
            [weight, grad, *self._parts(state, copied)]
            for weight, grad, state in zip(weights, grads, states, strict=True)
        ]
        self._launch(self._method(), weights, arrays, (), numbers, copied)

    def _parts(self, state, copied: bool) -> list[NDArray]:
        """The arrays of a state, the copy of the weight last."""
        if not copied:
            return _arrays(state)
        own, copy = state if self._COPY_BEHIND else state[::-1]
        return [*_arrays(own), copy]

    def _launch(
        self, method: str, weights, arrays, loaded, numbers: dict, copied: bool, kind: str = "multi"
    ) -> None:
        """Call the op of a method: arrays are those of each parameter, then what holds numbers."""
        numbers = self._of_gradients() | numbers
        flat = (a for parts in arrays for a in parts)
        _op(kind, method, copied)(*flat, *loaded, out=list(weights), **numbers)


def _op(kind: str, method: str, copied: bool):
    """The op that steps many parameters by a method, under MXNet's name or under one of clgrad's own."""
    name = f"{kind}_mp_{method}_update" if copied else f"{kind}_{method}_update"
    return table.get(name) or table[f"_{name}"]


def _arrays(state) -> list[NDArray]:
    if state is None:
        return []
    return [s for s in state if s is not None] if isinstance(state, list | tuple) else [state]


def _as_lists(index, weight, grad, state) -> tuple[Sequence, Sequence, Sequence, Sequence]:
    """The arguments of ``update``, for one parameter as for several."""
    if isinstance(index, list | tuple):
        return index, weight, grad, state
    return [index], [weight], [grad], [state]
