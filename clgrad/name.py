"""Automatic names (``mx.name``): what a block or an operator is called that was given no name."""

import threading
from collections import Counter


class NameManager:
    """Names things after a hint and a number that counts up; as a ``with`` scope, for its thread.

    Examples
    --------
    >>> import clgrad as mx
    >>> with mx.name.NameManager() as names:
    ...     names.get(None, "dense"), names.get(None, "dense"), names.get("mine", "dense")
    ('dense0', 'dense1', 'mine')
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def get(self, name: str | None, hint: str) -> str:
        """The given name, or else one made of the hint and a number."""
        if name:
            return name
        number = self._counts[hint]
        self._counts[hint] += 1
        return f"{hint}{number}"

    def __enter__(self) -> "NameManager":
        _managers.stack.append(self)
        return self

    def __exit__(self, *exception) -> None:
        _managers.stack.pop()


class Prefix(NameManager):
    """A manager that puts a prefix before every name, given or made.

    Examples
    --------
    >>> import clgrad as mx
    >>> with mx.name.Prefix("net_") as names:
    ...     names.get(None, "fc"), names.get("out", "fc")
    ('net_fc0', 'net_out')
    """

    def __init__(self, prefix: str):
        super().__init__()
        self._prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        """The prefix and the name."""
        return self._prefix + super().get(name, hint)


class _Managers(threading.local):
    """The managers that this thread has entered, the innermost last."""

    def __init__(self) -> None:
        self.stack = [NameManager()]


_managers = _Managers()


def current() -> NameManager:
    """The innermost manager of this thread."""
    return _managers.stack[-1]
