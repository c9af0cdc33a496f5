"""Python's operators on arrays: every pair of operands, asked of MXNet and clgrad alike."""

import operator
from typing import Any

import numpy as np

BINARY = ("add", "sub", "mul", "truediv", "mod", "pow", "eq", "ne", "lt", "le", "gt", "ge")
IN_PLACE = ("iadd", "isub", "imul", "itruediv", "imod")
DTYPES = ("float16", "float32", "int8", "uint8", "int32", "int64")


def operands(mx: Any, dtype: str) -> dict[str, Any]:
    """What stands on the other side."""

    def array(values, dtype):
        return mx.nd.array(np.array(values), dtype=dtype)

    return {
        "array": array([2, 3, 4], dtype),
        "row": array([[2, 3, 4], [1, 2, 3]], dtype),
        "one": array([2], dtype),
        "other": array([2, 3, 4], "int32" if "float" in dtype else "float32"),
        "int": 3,
        "float": 2.5,
        "true": True,
        "float32": np.float32(2.5),
        "float64": np.float64(1.5),
        "int64": np.int64(3),
        "bool_": np.bool_(True),
        "list": [1, 2, 3],
        "str": "a",
        "complex": 1j,
    }


def answers(mx: Any) -> dict[str, Any]:
    """By operator, dtype and operand: dtype, shape and elements of the result, or None where it raises."""
    found: dict[str, Any] = {}
    for dtype in DTYPES:
        for other, value in operands(mx, dtype).items():
            for name in BINARY:
                found[f"{name} {dtype} {other}"] = _result(name, _array(mx, dtype), value)
                found[f"{name} {other} {dtype}"] = _result(name, value, _array(mx, dtype))
            for name in IN_PLACE:
                found[f"{name} {dtype} {other}"] = _result(name, _array(mx, dtype), value)
    return found


def _array(mx: Any, dtype: str):
    return mx.nd.array(np.array([5, 2, 7]), dtype=dtype)


def _result(name: str, left, right) -> list | None:
    """MXNet reports some errors when the value is asked for."""
    try:
        result = getattr(operator, name)(left, right)
        if not hasattr(result, "asnumpy"):
            return None
        host = result.asnumpy()
    except Exception:
        return None
    return [host.dtype.name, host.shape, np.round(host.astype(np.float64), 3).tolist()]
