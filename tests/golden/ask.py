"""Running a case. The same function asks MXNet and clgrad, which is the point of clgrad."""

import functools
from typing import Any

import numpy as np

from golden.case import Case, arrays_of, head, mapped


def ask(mx: Any, case: Case, dtype: str) -> dict[str, np.ndarray]:
    """Run a case in a dtype on MXNet or clgrad.

    Returns
    -------
    dict
        ``out0``, ``out1``, ...: the results; ``grad0``, ...: the gradient with respect to each
        differentiable array, counted among all arrays, under the head gradients of
        :func:`golden.case.head`; ``in0``, ...: arrays that the call changed in place. Where the call
        raised, ``error``: the message; where only backward did, ``gradient error``.
    """
    args, attributes = case.draw(dtype)
    hosts = list(arrays_of(args, attributes, np.ndarray))
    arrays: list = []

    def put(host: np.ndarray):
        arrays.append(mx.nd.array(host, dtype=dtype_of(host, dtype)))
        return arrays[-1]

    args = [mapped(v, np.ndarray, put) for v in args]
    attributes = {key: mapped(v, np.ndarray, put) for key, v in attributes.items()}
    variables = [i for i in differentiable(case, dtype) if case.orders]
    for i in variables:
        arrays[i].attach_grad()
    try:
        outputs = forward(mx, case, args, attributes, bool(variables))
        answer = {f"out{i}": host_of(y) for i, y in enumerate(outputs)}
        changed = {f"in{i}": host_of(a) for i, a in enumerate(arrays)}
    except mx.base.MXNetError as error:
        return {"error": message(error)}
    except (
        AttributeError,
        TypeError,
        ValueError,
        IndexError,
        AssertionError,
        NotImplementedError,
    ) as error:
        return {"error": message(error)}
    for i, host in enumerate(hosts):
        if not np.array_equal(changed[f"in{i}"], host, equal_nan=host.dtype.kind == "f"):
            answer[f"in{i}"] = changed[f"in{i}"]
    if variables:
        answer |= gradients(mx, outputs, arrays, variables)
    return answer


def function_of(mx: Any, op: str):
    """The function below ``nd`` that a path such as ``linalg.gemm`` names."""
    return functools.reduce(getattr, op.split("."), mx.nd)


def forward(mx: Any, case: Case, args, attributes, recording: bool) -> list:
    """The outputs, recorded if asked for."""
    scope = mx.autograd.record(train_mode=case.train) if recording else training(mx, case.train)
    with scope:
        result = function_of(mx, case.op)(*args, **attributes)
    return list(result) if isinstance(result, list | tuple) else [result]


def training(mx: Any, train: bool):
    """The scope of training or of prediction, without recording."""
    return mx.autograd.train_mode() if train else mx.autograd.predict_mode()


def gradients(mx: Any, outputs, arrays, variables) -> dict[str, np.ndarray]:
    """Backward from all real outputs at once."""
    real = [(i, y) for i, y in enumerate(outputs) if is_real(str(host_of(y).dtype))]
    heads = [mx.nd.array(head(y.shape, i), dtype=y.dtype) for i, y in real]
    try:
        mx.autograd.backward([y for _, y in real], heads)
        return {f"grad{i}": host_of(arrays[i].grad) for i in variables}
    except mx.base.MXNetError as error:
        return {"gradient error": message(error)}


def differentiable(case: Case, dtype: str) -> list[int]:
    """Positions, among all arrays, of those whose gradient is asked for."""
    return [
        i
        for i, recipe in enumerate(case.recipes())
        if recipe.differentiable and is_real(recipe.dtype or dtype)
    ]


def is_real(dtype: str) -> bool:
    """Whether the dtype holds real numbers."""
    return "float" in dtype


def dtype_of(host: np.ndarray, dtype: str) -> str:
    """The dtype that an array is put on the device in: numpy may have none of that name."""
    return dtype if dtype == "bfloat16" and host.dtype == np.float32 else host.dtype.name


def host_of(a) -> np.ndarray:
    """A numpy array, of an array or of a number."""
    return a.asnumpy() if hasattr(a, "asnumpy") else np.asarray(a)


def message(error: Exception) -> np.ndarray:
    """The first line of an error, without the traceback of MXNet's C++ code."""
    lines = [line for line in str(error).splitlines() if line.strip() and "Traceback" not in line]
    return np.array(f"{type(error).__name__}: {' '.join(lines[:1])[:160]}")
