"""States of optimizers, and their numbers, as bytes: arrays in MXNet's format, the rest as JSON; no pickle.

The bytes are a file as :func:`clgrad.nd.save` writes it: arrays named ``0``, ``1``, ..., and ``json``, a
description whose arrays are ``{"array": number}``. Nothing is believed before it has been checked.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clgrad import nd, serialization
from clgrad.array import NDArray
from clgrad.errors import MXNetError, OperatorTypeError
from clgrad.optimizer.base import Optimizer

_FORMAT = "clgrad optimizer states 1"
_PLAIN = (bool, int, float, str, type(None))
#: Attributes of an optimizer that are no numbers of its own.
_APART = {"param_dict", "lr_scheduler", "_index_update_count", "_initial_counts"}


def dump(states: Mapping, optimizer: Optimizer | None) -> bytes:
    """States by index, and the numbers of an optimizer."""
    arrays: list[NDArray] = []
    found = {
        "format": _FORMAT,
        "states": _encoded(dict(states), "the state", arrays),
        "optimizer": None if optimizer is None else _numbers(optimizer),
    }
    text = np.frombuffer(json.dumps(found).encode(), np.uint8)
    named = {str(i): a for i, a in enumerate(arrays)}
    return serialization.dump(named | {"json": nd.array(text, dtype="uint8")})


def _numbers(optimizer: Optimizer) -> dict:
    described = _described(optimizer, _APART)
    scheduler = optimizer.lr_scheduler
    return described | {"scheduler": None if scheduler is None else _described(scheduler, set())}


def _described(owner: object, apart: set[str]) -> dict:
    name = type(owner).__name__
    given = {k: v for k, v in vars(owner).items() if k not in apart}
    return {"class": name, "attributes": {k: _encoded(v, f"{name}.{k}") for k, v in given.items()}}


def _encoded(value: Any, what: str, arrays: list[NDArray] | None = None) -> Any:
    """A value as JSON; arrays are put into a list, where there is one."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, NDArray) and arrays is not None:
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_encoded(v, what, arrays) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[_encoded(k, what), _encoded(v, what, arrays)] for k, v in value.items()]}
    accepted = "numbers, str, None, and lists, tuples and dicts of them"
    raise OperatorTypeError(f"get_states: {what} is {type(value).__name__}; accepted: {accepted}")


# Back


def load(content: bytes) -> tuple[dict, dict | None]:
    """States by index, and the numbers of an optimizer where they are there.

    Raises
    ------
    MXNetError
        These are no such bytes.
    """
    if isinstance(content, bytes) and content[:1] == b"\x80":
        raise MXNetError("set_states: the bytes are a pickle, as MXNet writes; it could execute anything")
    arrays = nd.load_frombuffer(content)
    text = arrays.get("json") if isinstance(arrays, dict) else None
    if not isinstance(arrays, dict) or text is None:
        raise MXNetError(
            "set_states: the bytes hold no states of an optimizer; accepted: what get_states gives"
        )
    try:
        found = json.loads(text.asnumpy().tobytes())
        if found["format"] != _FORMAT:
            raise ValueError(f"the format is {found['format']!r}; accepted: {_FORMAT!r}")
        states = _decoded(found["states"], arrays)
        if not isinstance(states, dict):
            raise ValueError("the states have no indices")
        numbers = found["optimizer"]
        if numbers is not None:
            numbers = _checked(numbers)
            numbers["scheduler"] = None if numbers["scheduler"] is None else _checked(numbers["scheduler"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MXNetError(f"set_states: the description of the states is damaged: {error!r}") from None
    return states, numbers


def _checked(described: dict) -> dict:
    attributes = {k: _decoded(v, {}) for k, v in described["attributes"].items()}
    return {**described, "class": str(described["class"]), "attributes": attributes}


def _decoded(value: Any, arrays: Mapping[str, NDArray]) -> Any:
    if isinstance(value, _PLAIN):
        return value
    ((kind, inside),) = value.items()
    if kind == "array":
        return arrays[str(int(inside))]
    if kind in ("list", "tuple"):
        members = [_decoded(v, arrays) for v in inside]
        return members if kind == "list" else tuple(members)
    if kind == "dict":
        return {_decoded(k, {}): _decoded(v, arrays) for k, v in inside}
    raise ValueError(f"{kind!r} is no kind of value")


def restoration(optimizer: Optimizer, numbers: dict) -> Callable[[], None]:
    """What gives an optimizer, and its scheduler, their numbers back; all is checked before.

    Raises
    ------
    MXNetError
        The numbers are of another class, or of attributes that there are not.
    """
    scheduler = optimizer.lr_scheduler
    if (numbers["scheduler"] is None) != (scheduler is None):
        has = {True: "without an lr_scheduler", False: "with one"}
        raise MXNetError(
            f"set_states: the states are of an optimizer {has[numbers['scheduler'] is None]}; accepted: "
            f"{has[scheduler is None]}, as this one"
        )
    changes: list[tuple[object, dict]] = [(optimizer, _fitting(optimizer, numbers))]
    if scheduler is not None:
        changes.append((scheduler, _fitting(scheduler, numbers["scheduler"])))

    def restore() -> None:
        for owner, attributes in changes:
            vars(owner).update(attributes)
        optimizer._carry_counts()
        optimizer._set_current_context(0)

    return restore


def _fitting(owner: object, described: dict) -> dict:
    name, given = type(owner).__name__, described["class"]
    if given != name:
        raise MXNetError(f"set_states: the states are of {given}; accepted: {name}, as this optimizer")
    known = vars(owner)
    for key, value in described["attributes"].items():
        if key not in known or not _alike(value, known[key]):
            raise MXNetError(
                f"set_states: {name}.{key} is {value!r}; accepted: a value as {name} has there"
            )
    return described["attributes"]


def _alike(value: Any, known: Any) -> bool:
    """Whether a value can take the place of another: numbers for numbers, or where one of them is None."""
    if value is None or known is None:
        return True
    kinds = ((bool, int, float, np.generic), (str,), (list, tuple), (dict,))
    return any(isinstance(value, kind) and isinstance(known, kind) for kind in kinds)
