"""Cases of one op each: the same inputs and the same formula in each framework.

A family of ops is a table of `Op`; ``mxnet, torch, tinygrad = runners(OPS)`` makes what the worker looks
for. Inputs come from numpy with a fixed seed, so that what the frameworks answer can be compared before it
is timed.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

#: What makes an input, in the process that needs it.
Input = Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Op:
    """One op with its inputs, and how each framework spells it.

    Attributes
    ----------
    what : str
        For the reader.
    inputs : sequence of functions
        Each makes an array. Gradients are taken of those that hold floating-point numbers.
    mxnet, torch, tinygrad, numpy : callable, optional
        The op: of ``mx.nd``, ``torch``, ``tinygrad.Tensor`` or ``numpy`` and the inputs.
    clblast : callable, optional
        Of the module `clblast`, the inputs, and what the result is written to.
    constants : sequence of functions
        More inputs, without gradients.
    gradients : bool
        Record the op, and take its gradients as well.
    work : float
        Floating-point operations of one call, where these are what counts.
    """

    what: str
    inputs: Sequence[Input]
    mxnet: Callable
    torch: Callable | None = None
    tinygrad: Callable | None = None
    numpy: Callable | None = None
    clblast: Callable | None = None
    constants: Sequence[Input] = ()
    gradients: bool = False
    work: float = 0

    def arrays(self) -> list[np.ndarray]:
        return [make() for make in (*self.inputs, *self.constants)]

    def marked(self, arrays: Sequence) -> list:
        """Those of a framework's arrays, in the order of `arrays`, that get gradients."""
        kinds = [make().dtype.kind for make in self.inputs]
        return [array for array, kind in zip(arrays, kinds, strict=False) if kind == "f"]


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Input:
    return lambda: (scale * np.random.default_rng(seed).standard_normal(shape, np.float32)).astype(
        np.float32
    )


def uniform(low: float, high: float, *shape: int, seed: int = 0) -> Input:
    return lambda: (low + (high - low) * np.random.default_rng(seed).random(shape, np.float32)).astype(
        np.float32
    )


def integers(high: int, *shape: int, seed: int = 0) -> Input:
    return lambda: np.random.default_rng(seed).integers(0, high, shape)


def full(value: float, *shape: int) -> Input:
    return lambda: np.full(shape, value, np.float32)


def with_gradients(ops: dict[str, Op], *, factor: float = 3) -> dict[str, Op]:
    """Each op alone, and with its gradients, which take `factor` times the work of the op."""
    result = {}
    for name, op in ops.items():
        result[name] = op
        result[f"{name}, gradients"] = dataclasses.replace(op, gradients=True, work=factor * op.work)
    return result


def runners(ops: dict[str, Op]) -> tuple[Callable, Callable, Callable]:
    """Functions of framework and case for MXNet (and clgrad), PyTorch and tinygrad."""

    def mxnet(mx, case: str):
        return _mxnet(mx, ops[case])

    def torch(torch, case: str):
        return _torch(torch, ops[case])

    def tinygrad(tinygrad, case: str):
        return _tinygrad(tinygrad, ops[case])

    return mxnet, torch, tinygrad


def descriptions(ops: dict[str, Op]) -> dict[str, str]:
    return {name: op.what for name, op in ops.items()}


def _mxnet(mx, op: Op):
    arrays = [mx.nd.array(array) for array in op.arrays()]
    if not op.gradients:
        return lambda: op.mxnet(mx.nd, *arrays)
    marked = op.marked(arrays)
    for array in marked:
        array.attach_grad()
    with mx.autograd.record():
        head = mx.nd.array(_head(op.mxnet(mx.nd, *arrays).shape))

    def step():
        with mx.autograd.record():
            y = op.mxnet(mx.nd, *arrays)
        y.backward(head)
        return [array.grad for array in marked]

    return step


def _torch(torch, op: Op):
    if op.torch is None:
        return None
    arrays = [torch.tensor(array) for array in op.arrays()]
    if not op.gradients:
        return lambda: op.torch(torch, *arrays)
    marked = op.marked(arrays)
    for array in marked:
        array.requires_grad_()
    head = torch.tensor(_head(op.torch(torch, *arrays).shape))

    def step():
        for array in marked:
            array.grad = None  # MXNet overwrites gradients, PyTorch would add
        op.torch(torch, *arrays).backward(head)
        # Where nothing is computed, as for arrays joined along their first axis, PyTorch hands out parts of
        # the head itself. MXNet's and clgrad's gradients are arrays of their own, and so these are copied.
        return [_apart(array.grad, head) for array in marked]

    return step


def _apart(gradient, head):
    """A gradient of PyTorch's that does not share the head's memory."""
    shared = gradient.untyped_storage().data_ptr() == head.untyped_storage().data_ptr()
    return gradient.clone() if shared else gradient


def _tinygrad(tinygrad, op: Op):
    if op.tinygrad is None:
        return None
    tensor = tinygrad.Tensor
    arrays = [tensor(array).realize() for array in op.arrays()]
    if not op.gradients:
        return lambda: op.tinygrad(tensor, *arrays).realize()
    head = tensor(_head(op.tinygrad(tensor, *arrays).shape)).realize()
    marked = op.marked(arrays)

    def step():
        gradients = op.tinygrad(tensor, *arrays).gradient(*marked, gradient=head)
        tensor.realize(*gradients)
        return gradients

    return step


def _head(shape: Sequence[int]) -> np.ndarray:
    """A head gradient: not the same everywhere, as the gradient of softmax would be 0 then."""
    shape = tuple(shape)
    size = math.prod(shape)
    # MXNet's full reductions have shape (1,), PyTorch's ().
    return (1 + 0.5 * np.cos(np.arange(size, dtype=np.float32))).reshape(shape)
