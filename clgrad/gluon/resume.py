"""Runs that can be broken off and resumed: all that a training loop depends on, in one file."""

import json
import os
import random as python_random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clgrad import files, host_random, nd, random, serialization
from clgrad.array import NDArray
from clgrad.errors import MXNetError, OperatorError, OperatorTypeError, argument_error
from clgrad.gluon.block import Block
from clgrad.gluon.parameter import Parameter, ParameterDict, brief
from clgrad.gluon.trainer import Trainer
from clgrad.optimizer import states

_FORMAT = "clgrad checkpoint 1"
#: What reading a description raises that is not as it was written.
_DAMAGE = (MXNetError, KeyError, TypeError, ValueError, AttributeError, OverflowError)


class Checkpoint:
    """A file from which a broken run goes on, and ends with the bits of an unbroken one on the same device.

    It holds parameters, the states and numbers of the optimizer and its scheduler, the random states of
    clgrad, of ``numpy.random`` and of ``random``, the place in the order of the data, and whatever the
    program adds. :meth:`save` replaces it in one step, so that a process that is killed leaves the last one
    or the one before, whole.

    Parameters
    ----------
    path : str or path
    **parts
        What is saved and loaded, by names of your own: a :class:`Block` or :class:`ParameterDict`, a
        :class:`Trainer`, an NDArray (which :meth:`load` writes to), and anything that has ``get_state()``
        and ``set_state(state)`` for what JSON can hold, as a :class:`DataLoader` does.

    Examples
    --------
    >>> import clgrad as mx
    >>> import numpy as np
    >>> import os, tempfile
    >>> net = mx.gluon.nn.Dense(1, in_units=2)
    >>> net.initialize()
    >>> trainer = mx.gluon.Trainer(net.collect_params(), "adam")
    >>> loader = mx.gluon.data.DataLoader(np.eye(2, dtype="float32"), batch_size=1, shuffle=True)
    >>> path = os.path.join(tempfile.mkdtemp(), "run")
    >>> checkpoint = mx.gluon.utils.Checkpoint(path, net=net, trainer=trainer, loader=loader)
    >>> progress = checkpoint.load() or {"epoch": 0}
    >>> for epoch in range(progress["epoch"], 3):
    ...     for x in loader:  # begins behind the last batch that was saved
    ...         with mx.autograd.record():
    ...             loss = net(x).sum()
    ...         loss.backward()
    ...         trainer.step(1)
    ...         checkpoint.save(epoch=epoch)
    >>> checkpoint.load()
    {'epoch': 2}
    """

    def __init__(self, path: str | os.PathLike, **parts: Any):
        self._path = Path(path)
        if "random" in parts:
            raise argument_error("Checkpoint", "a part", "named 'random'", "another name")
        self._stateful: dict[str, Any] = {"random": _Random()}
        self._stateful |= {name: part for name, part in parts.items() if hasattr(part, "set_state")}
        others = {name: part for name, part in parts.items() if name not in self._stateful}
        self._parts = {name: _adapter(name, part) for name, part in others.items()}

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def save(self, **progress: Any) -> None:
        """Write the file, whole or not at all; waits for the device.

        Parameters
        ----------
        **progress
            What the program itself wants to find again, such as the epoch: what JSON can hold.

        Raises
        ------
        OperatorTypeError
            JSON cannot hold some of it; nothing was written.
        OSError
            The file cannot be written; what was there before is as it was.
        """
        arrays: dict[str, NDArray] = {}
        described: dict[str, Any] = {}
        for name, part in self._parts.items():
            described[name], own = part.save()
            arrays |= {f"{name}:{key}": array for key, array in own.items()}
        content = {
            "format": _FORMAT,
            "parts": described,
            "states": {name: owner.get_state() for name, owner in self._stateful.items()},
            "progress": progress,
        }
        try:
            text = json.dumps(content).encode()
        except (TypeError, ValueError) as error:
            raise OperatorTypeError(
                f"Checkpoint.save: progress, or the state of a part: {error}; accepted: what JSON can hold"
            ) from error
        arrays["json"] = nd.array(np.frombuffer(text, np.uint8), dtype="uint8")
        files.replace(self._path, serialization.dump(arrays))

    def load(self) -> dict[str, Any] | None:
        """Put everything back as it was, where there is a file.

        Returns
        -------
        dict or None
            The progress that :meth:`save` was given; None where there is no file yet.

        Raises
        ------
        MXNetError
            The file is damaged, or of other parts; nothing has changed.
        """
        files.remove_leftovers(self._path)
        try:
            arrays: Any = nd.load(self._path)
        except FileNotFoundError:
            return None
        found = self._described(arrays)
        steps: list[Callable[[], None]] = []
        for name, part in self._parts.items():
            own = {key[len(name) + 1 :]: a for key, a in arrays.items() if key.startswith(f"{name}:")}
            try:
                steps.append(part.restoration(found["parts"][name], own))
            except _DAMAGE as error:
                raise self._error(f"{name}: {error}") from error
        self._restore_states(found["states"])
        for step in steps:
            step()
        return found["progress"]

    def _restore_states(self, given: Mapping[str, Any]) -> None:
        """Give all that has a state its own; where one refuses, all have what they had."""
        before: list[tuple[Any, Any]] = []
        for name, owner in self._stateful.items():
            before.append((owner, owner.get_state()))
            try:
                owner.set_state(given[name])
            except BaseException as error:
                for done, state in before:
                    done.set_state(state)
                if isinstance(error, _DAMAGE):
                    raise self._error(f"{name}: {error!r}") from error
                raise

    def _error(self, problem: str) -> MXNetError:
        return MXNetError(f"Checkpoint.load: {self._path}: {problem}")

    def _described(self, arrays: Any) -> dict:
        text = arrays.get("json") if isinstance(arrays, dict) else None
        if text is None:
            raise self._error("is no checkpoint")
        try:
            found = json.loads(text.asnumpy().tobytes())
            kind, names = found["format"], {*found["parts"], *found["states"]}
            found["progress"].items()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._error(f"its description is damaged: {error!r}") from None
        if kind != _FORMAT:
            raise self._error(f"is of the format {kind!r}; accepted: {_FORMAT!r}")
        here = {*self._parts, *self._stateful}
        if names != here:
            raise self._error(f"is of {brief(sorted(names))}; accepted: {brief(sorted(here))}")
        return found


class _Random:
    """The random states: of clgrad, and of Python's and numpy's generators."""

    def get_state(self) -> dict:
        return {
            "clgrad": random.get_state(),
            "numpy": host_random.get_state(),
            "python": python_random.getstate(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        version, numbers, gauss = state["python"]
        python_random.setstate((version, tuple(numbers), gauss))
        host_random.set_state(state["numpy"])
        random.set_state(state["clgrad"])


# Parts: each is saved as a description and arrays, and gives what puts it back, once that is known to fit


def _adapter(name: str, part: Any) -> Any:
    if isinstance(part, Block | ParameterDict):
        return _Parameters(part)
    if isinstance(part, Trainer):
        return _Trainer(part)
    if isinstance(part, NDArray):
        return _Array(part)
    given = type(part).__name__
    raise OperatorTypeError(
        f"Checkpoint: {name} is {given}; accepted: Block, ParameterDict, Trainer, NDArray, and what has "
        "get_state and set_state, as DataLoader"
    )


class _Parameters:
    """All parameters of a net, with a copy for each device: running statistics may differ."""

    def __init__(self, part: Block | ParameterDict):
        self._part = part

    def _named(self) -> dict[str, Parameter]:
        if isinstance(self._part, ParameterDict):
            return dict(self._part.items())
        return self._part._collect_params_with_prefix()

    def save(self) -> tuple[Any, dict[str, NDArray]]:
        named = self._named()
        arrays = {f"{i}:{n}": a for n, p in named.items() for i, a in enumerate(p.list_data())}
        return list(named), arrays

    def restoration(self, description: Any, arrays: dict[str, NDArray]) -> Callable[[], None]:
        named = self._named()
        if description != list(named):
            raise OperatorError(f"parameters are {brief(description)}; here are {brief(named)}")
        copies = {n: [a for k, a in arrays.items() if k.partition(":")[2] == n] for n in named}
        for name, parameter in named.items():
            saved = copies[name]
            if not saved:
                raise OperatorError(f"parameter {name} has no array")
            for array in saved:
                parameter._check_load(array, None, False, "the checkpoint")
            is_made = parameter._data is not None or parameter._deferred is not None
            here = len(parameter.list_ctx()) if is_made else 1
            if len(saved) != here:
                raise OperatorError(f"parameter {name} is of {len(saved)} devices; here it is on {here}")

        def restore() -> None:
            for name, parameter in named.items():
                parameter._load(copies[name][0], None, "current")
                for array, saved in zip(parameter.list_data(), copies[name], strict=True):
                    array[:] = saved.as_in_context(array.context)

        return restore


class _Trainer:
    """States and numbers of an optimizer."""

    def __init__(self, part: Trainer):
        self._part = part

    def save(self) -> tuple[Any, dict[str, NDArray]]:
        found = [u.get_states(dump_optimizer=True) for u in self._part._state_updaters()]
        arrays = [nd.array(np.frombuffer(content, np.uint8), dtype="uint8") for content in found]
        return len(found), {str(i): array for i, array in enumerate(arrays)}

    def restoration(self, description: Any, arrays: dict[str, NDArray]) -> Callable[[], None]:
        updaters = self._part._state_updaters()
        if description != len(updaters):
            raise OperatorError(f"the optimizer is of {description} devices; here are {len(updaters)}")
        contents = [arrays[str(i)].asnumpy().tobytes() for i in range(description)]
        for updater, content in zip(updaters, contents, strict=True):
            _, numbers = states.load(content)
            if numbers is None:
                raise OperatorError("the optimizer's numbers are missing")
            states.restoration(updater.optimizer, numbers)

        def restore() -> None:
            for updater, content in zip(updaters, contents, strict=True):
                updater.set_states(content)

        return restore


class _Array:
    """An array that the program goes on with."""

    def __init__(self, part: NDArray):
        self._part = part

    def save(self) -> tuple[Any, dict[str, NDArray]]:
        return None, {"array": self._part}

    def restoration(self, description: Any, arrays: dict[str, NDArray]) -> Callable[[], None]:
        part, saved = self._part, arrays["array"]
        if (saved.shape, saved.dtype) != (part.shape, part.dtype):
            found, here = (f"{a.dtype.__name__} {a.shape}" for a in (saved, part))
            raise OperatorError(f"the array is {found}; here it is {here}")

        def restore() -> None:
            part[:] = saved.as_in_context(part.context)

        return restore
