"""Parameters that never learn."""

import warnings

from clgrad import nd
from clgrad.array import NDArray
from clgrad.gluon.parameter.initialisation import Deferred
from clgrad.gluon.parameter.parameter import Parameter


class Constant(Parameter):
    """A parameter that never learns: ``grad_req`` is 'null', and trainers leave it alone.

    Parameters
    ----------
    name : str
    value : NDArray, numpy.ndarray or nested list
        float32 unless it is an NDArray of another dtype.

    Examples
    --------
    >>> import clgrad as mx
    >>> class Shift(mx.gluon.HybridBlock):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.by = self.params.get_constant("by", [1, 2])
    ...
    ...     def hybrid_forward(self, F, x, by):
    ...         return x + by
    >>> net = Shift()
    >>> net.initialize()
    >>> net(mx.nd.zeros((2,))).asnumpy()
    array([1., 2.], dtype=float32)
    """

    def __init__(self, name: str, value):
        self.value = value if isinstance(value, NDArray) else nd.array(value)
        super().__init__(name, grad_req="null", shape=self.value.shape, dtype=self.value.dtype)

    def _fill(self, data: NDArray, deferred: Deferred) -> None:
        self.value.copyto(data)

    @property
    def grad_req(self) -> str:
        """Always ``'null'``; setting anything else warns, and changes nothing."""
        return "null"

    @grad_req.setter
    def grad_req(self, req: str) -> None:
        if req != "null":
            warnings.warn(
                f"Constant {self.name} has the grad_req 'null' for good; {req!r} is ignored", stacklevel=2
            )
