"""Every function of MXNet's namespaces takes MXNet's arguments, in MXNet's order."""

import inspect
import json
from operator import attrgetter

import pytest
from golden.record_files import FOLDER

import clgrad as mx
from clgrad.registry import table

pytestmark = pytest.mark.once

ARGUMENTS = {
    f"{space}.{name}": accepted
    for space, functions in json.loads((FOLDER / "arguments.json").read_text()).items()
    for name, accepted in functions.items()
    if name in dir(attrgetter(space)(mx))
}
#: Arguments that mean nothing here: of MXNet's old models, and of its own machinery.
DROPPED = {
    "nd.reshape": {"target_shape", "keep_highest"},
    "nd.Reshape": {"target_shape", "keep_highest"},
    "nd.from_numpy": {"array_cls"},
}


def accepted_by(function) -> list[str]:
    """Names of the parameters in the order of positions, any number of arrays left out."""
    order = getattr(function, "_call_order", None)
    if order is not None:
        return list(order)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind not in kinds]


@pytest.mark.parametrize("path", ARGUMENTS)
def test_arguments(path):
    function = attrgetter(path)(mx)
    synonyms = getattr(function, "synonyms", {})
    # Every op takes `out` and `name`, for which MXNet has several places.
    apart = {"out", "name", *DROPPED.get(path, ())}
    theirs = [synonyms.get(name, name) for name in ARGUMENTS[path] if name not in apart and name[0] != "*"]
    ours = [name for name in accepted_by(function) if name in theirs]
    assert ours == theirs


def test_every_synonym_is_a_name_of_mxnet():
    for op in set(table.values()):
        for name in getattr(op, "synonyms", ()):
            paths = [f"nd.{key}" for key in (op.name, *op.aliases)]
            assert any(name in ARGUMENTS.get(path, ()) for path in paths)


def test_powers_by_either_names():
    x, y = mx.nd.array([2, 3]), mx.nd.array([3, 2])
    assert mx.nd.power(base=x, exp=y).asnumpy().tolist() == [8, 9]
    assert mx.nd.power(x, exp=2).asnumpy().tolist() == [4, 9]
    assert mx.nd.power(base=2, exp=x).asnumpy().tolist() == [4, 8]
    assert mx.nd.broadcast_power(lhs=x, rhs=y).asnumpy().tolist() == [8, 9]
    with pytest.raises(TypeError, match="power: argument 'lhs' is given twice"):
        mx.nd.power(lhs=x, base=x, exp=y)
    with pytest.raises(TypeError, match="power: argument 'lhs' is given twice"):
        mx.nd.power(x, base=x)
