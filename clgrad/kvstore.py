"""``mx.kv``: values that the devices of one process share.

What is pushed under a key from several devices is added up; it replaces the stored value, or an optimizer
steps the stored value by it. What is pulled is the stored value, copied to each device.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clgrad import config, files, nd
from clgrad.array import NDArray
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError, argument_error
from clgrad.optimizer import Optimizer, Updater, get_updater

__all__ = ["KVStore", "create"]

_LOCAL = ("local", "local_update_cpu", "local_allreduce_cpu", "local_allreduce_device", "device")
#: Kinds that join machines: with one process, its workers are this one.
_DISTRIBUTED = ("dist", "dist_sync", "dist_sync_device", "dist_device_sync")
_ABSENT = ("dist_async", "nccl", "horovod", "byteps", "teststore", "p3store_dist")


def create(name: str = "local") -> "KVStore":
    """A store of shared values.

    Parameters
    ----------
    name : {'local', 'device', 'dist_sync', 'dist_device_sync'}
        All are the same here: sums are made on the first device. ``dist_`` stores are those of a job with
        one worker, this process.

    Raises
    ------
    AbsentError
        A kind that needs other processes, or a job of several workers (``DMLC_NUM_WORKER``).
    OperatorError
        No such kind.

    Examples
    --------
    >>> import clgrad as mx
    >>> store = mx.kv.create("local")
    >>> store.init(3, mx.nd.ones((2,)))
    >>> store.push(3, [mx.nd.ones((2,)), mx.nd.ones((2,)) * 2])
    >>> out = mx.nd.zeros((2,))
    >>> store.pull(3, out=out)
    >>> out.asnumpy()
    array([3., 3.], dtype=float32)
    """
    if not isinstance(name, str):
        raise OperatorTypeError(f"kvstore.create: name is {type(name).__name__}; accepted: str")
    kind = name.lower()
    if kind in _ABSENT:
        raise AbsentError(
            f"kvstore.create: {name!r} needs other processes; clgrad has 'local' and 'device'"
        )
    if kind not in (*_LOCAL, *_DISTRIBUTED):
        raise argument_error("kvstore.create", "name", repr(name), ", ".join((*_LOCAL, *_DISTRIBUTED)))
    if kind in _DISTRIBUTED and config.workers() != "1":
        given = f"{name!r} with DMLC_NUM_WORKER={config.workers()}"
        raise AbsentError(f"kvstore.create: {given}; clgrad trains in one process so far")
    return KVStore(kind)


class KVStore:
    """Values by key, shared by the devices of one process; made by :func:`create`."""

    def __init__(self, kind: str):
        self._kind = kind
        self._stored: dict[int | str, NDArray] = {}
        self._updater: Callable | None = None

    @property
    def type(self) -> str:
        """What the store was made as."""
        return self._kind

    @property
    def rank(self) -> int:
        """The number of this process among those of the job: 0."""
        return 0

    @property
    def num_workers(self) -> int:
        """How many processes the job has: 1."""
        return 1

    @staticmethod
    def is_capable(capability: str) -> bool:
        """Whether the store can do something: ``'optimizer'``, step values by an optimizer."""
        if str(capability).lower() != "optimizer":
            raise argument_error("is_capable", "capability", repr(capability), "'optimizer'")
        return True

    def init(self, key, value) -> None:
        """Store a first value under a key, or several under as many.

        Parameters
        ----------
        key : int, str, or list of them
        value : NDArray, or list of NDArray
            Copied.

        Raises
        ------
        OperatorError
            The key has a value already.
        """
        pairs = _pairs("init", key, value)
        seen = set(self._stored)
        for k, _ in pairs:
            if k in seen:
                raise argument_error("KVStore.init", "key", repr(k), "keys without a value")
            seen.add(k)
        for k, values in pairs:
            self._stored[k] = values[0].copy()

    def _keep(self, key: int, value: NDArray) -> None:
        """Store an array itself: what its owner writes to it counts, and steps change it."""
        self._stored[key] = value.detach()

    def push(self, key, value, priority: int = 0) -> None:
        """Add up values from several devices, and replace or step the stored value.

        Parameters
        ----------
        key : int, str, or list of them
        value : NDArray, list of NDArray, or for several keys a list of these
        priority : int
            Accepted for MXNet's sake: what is asked for first is done first.
        """
        pairs = _pairs("push", key, value)
        for k, values in pairs:  # all of them, before any value changes
            self._check_pushed(k, values)
        for k, values in pairs:
            self._push(k, values)

    def pull(self, key, out=None, priority: int = 0, ignore_sparse: bool = True) -> None:
        """Copy stored values into arrays.

        Parameters
        ----------
        key : int, str, or list of them
        out : NDArray, list of NDArray, or for several keys a list of these
        priority, ignore_sparse
            Accepted for MXNet's sake.
        """
        for k, targets in _pairs("pull", key, out):
            self._pull(k, targets)

    def pushpull(self, key, value, out=None, priority: int = 0) -> None:
        """Push, then pull into ``out``, or into what was pushed."""
        self.push(key, value, priority)
        self.pull(key, value if out is None else out, priority)

    def broadcast(self, key, value, out, priority: int = 0) -> None:
        """Store a first value, and copy it into arrays."""
        self.init(key, value)
        self.pull(key, out, priority)

    def row_sparse_pull(self, key, out=None, priority: int = 0, row_ids=None) -> None:
        """Refused: arrays are dense; :meth:`pull` gives all rows."""
        raise AbsentError("KVStore.row_sparse_pull: clgrad stores arrays densely; pull gives all rows")

    def set_gradient_compression(self, compression_params) -> None:
        """Refused: nothing leaves the process."""
        raise AbsentError("KVStore.set_gradient_compression: nothing is sent that could be compressed")

    def set_optimizer(self, optimizer) -> None:
        """Have an optimizer step the stored values by what is pushed."""
        if not isinstance(optimizer, Optimizer):
            given = type(optimizer).__name__
            raise OperatorTypeError(f"KVStore.set_optimizer: optimizer is {given}; accepted: Optimizer")
        self._updater = get_updater(optimizer)

    def _set_updater(self, updater: Callable[[Any, NDArray, NDArray], None]) -> None:
        """Have a function of key, pushed value and stored value change the latter in place."""
        self._updater = updater

    def save_optimizer_states(self, fname, dump_optimizer: bool = False) -> None:
        """Write the optimizer's states to a file, whole or not at all."""
        files.replace(Path(fname), self._own_updater("save_optimizer_states").get_states(dump_optimizer))

    def load_optimizer_states(self, fname) -> None:
        """Take the optimizer's states from a file; where they do not fit, nothing changes."""
        self._own_updater("load_optimizer_states").set_states(Path(fname).read_bytes())

    def _own_updater(self, method: str) -> Updater:
        if not isinstance(self._updater, Updater):
            raise MXNetError(f"KVStore.{method}: the store has no optimizer; call set_optimizer first")
        return self._updater

    def _find(self, method: str, key) -> NDArray:
        found = self._stored.get(key)
        if found is None:
            keys = ", ".join(map(repr, self._stored)) or "none, before init"
            raise argument_error(f"KVStore.{method}", "key", repr(key), keys)
        return found

    def _check_pushed(self, key, values: list[NDArray]) -> None:
        stored = self._find("push", key)
        for value in values:
            if value.shape != stored.shape or value.dtype != stored.dtype:
                given, own = (f"{a._view.dtype} {a.shape}" for a in (value, stored))
                raise argument_error(
                    "KVStore.push", f"the value of key {key!r}", given, f"{own}, as stored"
                )

    def _push(self, key, values: list[NDArray]) -> None:
        stored = self._stored[key]
        total = reduced(values)
        if self._updater is None:
            self._stored[key] = total.copy() if total is values[0] else total
        else:
            if total.context != stored.context:  # the optimizer works where the gradients are
                stored = self._stored[key] = stored.as_in_context(total.context)
            self._updater(key, total, stored)

    def _pull(self, key, targets: list[NDArray]) -> None:
        stored = self._find("pull", key)
        for target in targets:
            if target.shape != stored.shape:
                accepted = f"{stored.shape}, as stored"
                raise argument_error("KVStore.pull", "out", f"of shape {target.shape}", accepted)
        for target in targets:
            if target._view is not stored._view:
                stored.copyto(target)


def reduced(values: list[NDArray]) -> NDArray:
    """The sum of arrays on several devices, on the first of them; a sole array itself."""
    if len(values) == 1:
        return values[0]
    first = values[0].context
    return nd.add_n(*(v.as_in_context(first) for v in values))


def _pairs(method: str, key, value) -> list[tuple[Any, list[NDArray]]]:
    """Each key with its arrays."""
    several = isinstance(key, list | tuple)
    keys, values = (list(key), value) if several else ([key], [value])
    if not isinstance(values, list | tuple) or len(values) != len(keys):
        given = f"{len(values)}" if isinstance(values, list | tuple) else type(values).__name__
        raise argument_error(f"KVStore.{method}", "values", given, f"a list of {len(keys)}, as of keys")
    found = []
    for k, v in zip(keys, values, strict=True):
        arrays = list(v) if isinstance(v, list | tuple) else [v]
        if isinstance(k, bool) or not isinstance(k, int | str):
            raise OperatorTypeError(f"KVStore.{method}: key is {type(k).__name__}; accepted: int or str")
        if not arrays or not all(isinstance(a, NDArray) for a in arrays):
            kinds = ", ".join(type(a).__name__ for a in arrays) or "empty"
            raise OperatorTypeError(
                f"KVStore.{method}: the value of key {k!r} is {kinds}; accepted: NDArray"
            )
        found.append((k, arrays))
    if len({type(k) for k, _ in found}) > 1:
        raise OperatorError(f"KVStore.{method}: keys are {keys}; accepted: all int, or all str")
    return found
