"""Activation functions as layers."""

from clgrad import initializer
from clgrad.errors import argument_error
from clgrad.gluon.arguments import number
from clgrad.gluon.block import HybridBlock


class Activation(HybridBlock):
    """relu, sigmoid, tanh, softrelu or softsign of each element: see ``nd.Activation``.

    Parameters
    ----------
    activation : str

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.Activation("relu")(mx.nd.array([-1, 2])).asnumpy()
    array([0., 2.], dtype=float32)
    """

    def __init__(self, activation: str, **kwargs):
        self._act_type = activation
        super().__init__(**kwargs)

    def _alias(self) -> str:
        return self._act_type

    def hybrid_forward(self, F, x):
        """Apply the function."""
        return F.Activation(x, act_type=self._act_type, name="fwd")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._act_type})"


class LeakyReLU(HybridBlock):
    """x where x > 0, else alpha x (Maas et al., 2013).

    Parameters
    ----------
    alpha : float
        The slope below 0; not negative.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.LeakyReLU(0.5)(mx.nd.array([-1, 2])).asnumpy()
    array([-0.5,  2. ], dtype=float32)
    """

    def __init__(self, alpha: float, **kwargs):
        if not number("LeakyReLU", "alpha", alpha) >= 0:
            raise argument_error("LeakyReLU", "alpha", repr(alpha), "at least 0")
        super().__init__(**kwargs)
        self._alpha = alpha

    def hybrid_forward(self, F, x):
        """Apply the function."""
        return F.LeakyReLU(x, act_type="leaky", slope=self._alpha, name="fwd")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._alpha})"


class PReLU(HybridBlock):
    """x where x > 0, else alpha x, with alpha learned (He et al., 2015).

    Parameters
    ----------
    alpha_initializer : Initializer, default Constant(0.25)
    in_channels : int, default 1
        How many alphas: 1, or one for each channel (axis 1 of the input).

    Examples
    --------
    >>> import clgrad as mx
    >>> layer = mx.gluon.nn.PReLU()
    >>> layer.initialize()
    >>> layer(mx.nd.array([[-1, 2]])).asnumpy()
    array([[-0.25,  2.  ]], dtype=float32)
    """

    def __init__(self, alpha_initializer=None, in_channels: int = 1, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.alpha = self.params.get(
                "alpha", shape=(in_channels,), init=alpha_initializer or initializer.Constant(0.25)
            )

    def hybrid_forward(self, F, x, alpha):
        """Apply the function."""
        return F.LeakyReLU(x, gamma=alpha, act_type="prelu", name="fwd")


class ELU(HybridBlock):
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al., 2016).

    Parameters
    ----------
    alpha : float, default 1

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.ELU()(mx.nd.array([-100, 2])).asnumpy()
    array([-1.,  2.], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self._alpha = alpha

    def hybrid_forward(self, F, x):
        """Apply the function."""
        return F.LeakyReLU(x, act_type="elu", slope=self._alpha)


class SELU(HybridBlock):
    """1.0507 x where x > 0, else 1.7581 (exp(x) - 1) (Klambauer et al., 2017).

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.SELU()(mx.nd.array([-100, 1])).asnumpy()
    array([-1.7580993,  1.050701 ], dtype=float32)
    """

    def hybrid_forward(self, F, x):
        """Apply the function."""
        return F.LeakyReLU(x, act_type="selu", name="fwd")


class GELU(HybridBlock):
    """x times the normal distribution's cumulative function at x (Hendrycks & Gimpel, 2016).

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.GELU()(mx.nd.array([0, 100])).asnumpy()
    array([  0., 100.], dtype=float32)
    """

    def hybrid_forward(self, F, x):
        """Apply the function."""
        return F.LeakyReLU(x, act_type="gelu", name="fwd")


class Swish(HybridBlock):
    """x sigmoid(beta x) (Ramachandran et al., 2017).

    Parameters
    ----------
    beta : float, default 1

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.gluon.nn.Swish()(mx.nd.array([0, 100])).asnumpy()
    array([  0., 100.], dtype=float32)
    """

    def __init__(self, beta: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self._beta = number("Swish", "beta", beta)

    def hybrid_forward(self, F, x):
        """Apply the function."""
        return x * F.sigmoid(self._beta * x, name="fwd")
