"""What the nets of `models` are made of: parameters, inputs, and a step of SGD in each framework.

A net is a function of the framework's ops, a dictionary of parameters, and inputs, which returns the loss;
one such function for MXNet and clgrad, and one for PyTorch. Both get the same numbers, so that their losses
can be compared.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

RATE = 0.01

Arrays = dict[str, np.ndarray]


class Parameters:
    """Arrays by name: weights are uniform within 1 / sqrt(fan-in), biases and shifts 0, scales 1."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}
        self._random = np.random.default_rng(0)

    def weight(self, name: str, *shape: int) -> None:
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.arrays[name] = (bound * (2 * self._random.random(shape, np.float32) - 1)).astype(np.float32)

    def layer(self, name: str, *shape: int) -> None:
        """A weight, and a bias of its first axis."""
        self.weight(f"{name}_weight", *shape)
        self.arrays[f"{name}_bias"] = np.zeros(shape[0], np.float32)

    def norm(self, name: str, size: int) -> None:
        """Scale and shift."""
        self.arrays[f"{name}_gamma"] = np.ones(size, np.float32)
        self.arrays[f"{name}_beta"] = np.zeros(size, np.float32)

    def moments(self, name: str, size: int) -> None:
        """The moving mean and variance of a batch normalisation, which have no gradient."""
        self.arrays[f"{name}_mean"] = np.zeros(size, np.float32)
        self.arrays[f"{name}_var"] = np.ones(size, np.float32)


def _learned(parameters: dict) -> list:
    return [value for name, value in parameters.items() if not name.endswith(("_mean", "_var"))]


@dataclasses.dataclass(frozen=True)
class Net:
    """A net, its parameters and its inputs.

    Attributes
    ----------
    parameters : callable
        Makes them.
    inputs : callable
        Makes the inputs of the losses.
    mxnet_loss, torch_loss : callable
        ``loss(nd, parameters, *inputs)`` and ``loss(torch, parameters, *inputs)``.
    torch_layout : callable
        Parameters as PyTorch wants them.
    clgrad_loss : callable, optional
        What clgrad's users write, where it is not what MXNet's do.
    tinygrad_loss : callable, optional
        ``loss(Tensor, parameters, *inputs)``.
    """

    parameters: Callable[[], Arrays]
    inputs: Callable[[], list[np.ndarray]]
    mxnet_loss: Callable
    torch_loss: Callable
    torch_layout: Callable[[Arrays], Arrays] = lambda arrays: arrays
    clgrad_loss: Callable | None = None
    tinygrad_loss: Callable | None = None

    def mxnet(self, mx) -> Callable:
        """A step of training, which returns the loss; for clgrad as well."""
        function = (mx.__name__ == "clgrad" and self.clgrad_loss) or self.mxnet_loss
        parameters = {name: mx.nd.array(array) for name, array in self.parameters().items()}
        inputs = [mx.nd.array(array) for array in self.inputs()]
        learned = _learned(parameters)
        for parameter in learned:
            parameter.attach_grad()

        def step():
            with mx.autograd.record():
                loss = function(mx.nd, parameters, *inputs)
            loss.backward()
            for parameter in learned:
                mx.nd.sgd_update(parameter, parameter.grad, lr=RATE, wd=0, out=parameter)
            return loss

        return step

    def torch(self, torch) -> Callable:
        """The same, with ``torch.optim.SGD``."""
        arrays = self.torch_layout(self.parameters())
        parameters = {name: torch.tensor(array) for name, array in arrays.items()}
        inputs = [torch.tensor(array) for array in self.inputs()]
        learned = _learned(parameters)
        for parameter in learned:
            parameter.requires_grad_()
        optimizer = torch.optim.SGD(learned, lr=RATE)

        def step():
            optimizer.zero_grad(set_to_none=True)
            loss = self.torch_loss(torch, parameters, *inputs)
            loss.backward()
            optimizer.step()
            return loss

        return step

    def tinygrad(self, tinygrad) -> Callable | None:
        """The same, or None if it is not written."""
        if self.tinygrad_loss is None:
            return None
        tensor = tinygrad.Tensor
        parameters = {name: tensor(array).realize() for name, array in self.parameters().items()}
        inputs = [tensor(array).realize() for array in self.inputs()]
        learned = _learned(parameters)

        def step():
            loss = self.tinygrad_loss(tensor, parameters, *inputs)
            gradients = loss.gradient(*learned)
            for parameter, gradient in zip(learned, gradients, strict=True):
                parameter.assign(parameter - RATE * gradient)
            tensor.realize(loss, *learned)
            return loss

        return step


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def labels(classes: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, classes, shape)
