"""Layers that multiply, look up, drop and reshape."""

from clgrad.gluon.arguments import number, size
from clgrad.gluon.block import HybridBlock
from clgrad.gluon.nn.activations import Activation


class Dense(HybridBlock):
    """activation(x W^T + b).

    Parameters
    ----------
    units : int
        Size of what it gives.
    activation : str, optional
        See :class:`Activation`.
    use_bias : bool, default True
    flatten : bool, default True
        Take all axes of the input but the first for one; else only the last one is multiplied.
    dtype : str or type, default 'float32'
    weight_initializer : Initializer or str, optional
    bias_initializer : Initializer or str, default 'zeros'
    in_units : int, default 0
        Size of the input; 0 means that of the first input.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Dense(5, activation="tanh", in_units=3, flatten=False)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 4, 3))).shape
    (2, 4, 5)
    >>> layer
    Dense(3 -> 5, Activation(tanh))
    """

    def __init__(
        self,
        units,
        activation=None,
        use_bias=True,
        flatten=True,
        dtype="float32",
        weight_initializer=None,
        bias_initializer="zeros",
        in_units=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._flatten = flatten
        self._units = size("Dense", "units", units)
        in_units = size("Dense", "in_units", in_units, least=-1)
        with self.name_scope():
            self.weight = self.params.get(
                "weight",
                shape=(units, in_units),
                init=weight_initializer,
                dtype=dtype,
                allow_deferred_init=True,
            )
            self.bias = None
            if use_bias:
                self.bias = self.params.get(
                    "bias", shape=(units,), init=bias_initializer, dtype=dtype, allow_deferred_init=True
                )
            self.act = None if activation is None else Activation(activation, prefix=f"{activation}_")

    def hybrid_forward(self, F, x, weight, bias=None):
        """Multiply, add the bias, and apply the activation."""
        y = F.FullyConnected(
            x,
            weight,
            bias,
            no_bias=bias is None,
            num_hidden=self._units,
            flatten=self._flatten,
            name="fwd",
        )
        return y if self.act is None else self.act(y)

    def __repr__(self) -> str:
        _, inputs = self.weight.shape or (None, None)
        return f"{type(self).__name__}({inputs or None} -> {self._units}, {self.act or 'linear'})"


class Dropout(HybridBlock):
    """In training, sets elements to 0 at random and divides the rest by 1 - rate (Srivastava et al., 2014).

    Parameters
    ----------
    rate : float
        The share of elements that are set to 0.
    axes : tuple of int, default ()
        Axes along which all elements share one fate.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Dropout(0.5)
    >>> layer(mx.nd.ones((2,))).asnumpy()  # nothing is dropped outside of training
    array([1., 1.], dtype=float32)
    """

    def __init__(self, rate, axes=(), **kwargs):
        super().__init__(**kwargs)
        self._rate = number("Dropout", "rate", rate)
        self._axes = axes

    def hybrid_forward(self, F, x):
        """Drop elements where training."""
        if self._rate > 0:
            return F.Dropout(x, p=self._rate, axes=self._axes, name="fwd", cudnn_off=False)
        return F.identity(x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p = {self._rate}, axes={self._axes})"


class Embedding(HybridBlock):
    """Rows of a learned table, chosen by whole numbers.

    Parameters
    ----------
    input_dim : int
        Number of rows.
    output_dim : int
        Length of a row.
    dtype : str or type, default 'float32'
    weight_initializer : Initializer or str, optional
    sparse_grad : bool, default False
        Accepted for MXNet's sake; the gradient is dense.

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.Embedding(10, 4)
    >>> layer.initialize()
    >>> layer(mx.nd.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        input_dim,
        output_dim,
        dtype="float32",
        weight_initializer=None,
        sparse_grad=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._kwargs = {
            "input_dim": size("Embedding", "input_dim", input_dim),
            "output_dim": size("Embedding", "output_dim", output_dim),
            "dtype": dtype,
            "sparse_grad": sparse_grad,
        }
        self.weight = self.params.get(
            "weight",
            shape=(input_dim, output_dim),
            init=weight_initializer,
            dtype=dtype,
            allow_deferred_init=True,
            grad_stype="row_sparse" if sparse_grad else "default",
        )

    def hybrid_forward(self, F, x, weight):
        """Take the rows."""
        return F.Embedding(x, weight, name="fwd", **self._kwargs)

    def __repr__(self) -> str:
        shown = self._kwargs
        return f"{type(self).__name__}({shown['input_dim']} -> {shown['output_dim']}, {shown['dtype']})"


class Flatten(HybridBlock):
    """All axes but the first as one.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.Flatten()(mx.nd.ones((2, 3, 4))).shape
    (2, 12)
    """

    def hybrid_forward(self, F, x):
        """Reshape."""
        return F.flatten(x)

    def __repr__(self) -> str:
        return type(self).__name__
