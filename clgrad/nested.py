"""Values nested in lists, tuples and dictionaries: arguments and results of functions, batches, states.

Whatever is none of these containers is a leaf. Containers keep their class: named tuples and ordered
dictionaries stay what they are.
"""

import copy
from collections.abc import Callable
from typing import Any

_CONTAINERS = (list, tuple, dict)


def leaves(value: Any, kind: Any = object) -> list:
    """The leaves of a type, or of several, in order; of dictionaries the values, not the keys."""
    if not isinstance(value, _CONTAINERS):
        return [value] if isinstance(value, kind) else []
    members = value.values() if isinstance(value, dict) else value
    return [leaf for member in members for leaf in leaves(member, kind)]


def replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """The value with ``replace(leaf)`` in the place of each leaf; lists and dictionaries are new ones."""
    if not isinstance(value, _CONTAINERS):
        return replace(value)
    if isinstance(value, dict):
        members = {key: replaced(member, replace) for key, member in value.items()}
        return members if type(value) is dict else _updated(value, members)
    parts = [replaced(member, replace) for member in value]
    if type(value) is list:
        return parts
    return tuple(parts) if type(value) is tuple else _like(value, parts)


def _updated(value: dict, members: dict) -> dict:
    made = copy.copy(value)  # with a default, attributes and the like
    dict.update(made, members)  # a Counter's own would add
    return made


def _like(value: list | tuple, parts: list) -> Any:
    """A container of a class of its own, with other members."""
    if isinstance(value, list):
        made = copy.copy(value)
        list.__setitem__(made, slice(None), parts)
        return made
    if all(old is new for old, new in zip(value, parts, strict=True)):
        return value  # some, such as sys.version_info, cannot be made
    return value._make(parts) if hasattr(value, "_make") else type(value)(parts)
