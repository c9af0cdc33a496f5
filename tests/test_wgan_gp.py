"""A critic with a gradient penalty trains: the use of second order that most people come for.

The critic of a Wasserstein GAN is to have gradients of norm 1 between real and generated images, which a
penalty on (norm - 1)^2 asks for (I. Gulrajani et al.: Improved training of Wasserstein GANs, 2017). Its
gradient with respect to the parameters goes through the gradient of the critic, and so through the second
derivatives of convolutions, dense layers and LeakyReLU.
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from clgrad import autograd, nd
from clgrad.test_utils import gradcheck

#: Weight of the penalty, as in the paper.
PENALTY = 10.0
#: The largest gray value of scikit-learn's digits of 8 x 8.
WHITE = 16.0


def digits(count: int) -> np.ndarray:
    return load_digits().images[:count, None] / WHITE


def parameters(rng) -> list[np.ndarray]:
    """Weights and biases of two convolutions and a dense layer, by He's initialisation."""
    shapes = [(4, 1, 3, 3), (4,), (6, 4, 3, 3), (6,), (1, 24), (1,)]
    return [rng.normal(0, np.sqrt(2 / max(1, np.prod(s[1:]))) if len(s) > 1 else 0.1, s) for s in shapes]


def critic(images, w1, b1, w2, b2, w3, b3):
    """Images of 8 x 8 to one score each."""
    h = nd.Convolution(images, w1, b1, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=4)
    h = nd.LeakyReLU(h, act_type="leaky", slope=0.2)
    h = nd.Convolution(h, w2, b2, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=6)
    h = nd.LeakyReLU(h, act_type="leaky", slope=0.2)
    return nd.FullyConnected(h, w3, b3, num_hidden=1)


def norms(images, share, generated, weights):
    """Norms of the critic's gradient at images between real and generated ones."""
    between = (share * images + (1 - share) * generated).detach()
    between.attach_grad()
    (gradient,) = autograd.grad(critic(between, *weights), [between], create_graph=True)
    return (gradient * gradient).sum(axis=(1, 2, 3)).sqrt()


def loss(images, share, generated, weights):
    """What the critic minimises: the score of generated images less that of real ones, and the penalty."""
    distance = critic(generated, *weights).mean() - critic(images, *weights).mean()
    return distance + PENALTY * ((norms(images, share, generated, weights) - 1) ** 2).mean()


def test_gradients_of_the_penalised_loss():
    """They agree with finite differences along random directions of every parameter."""
    rng = np.random.default_rng(0)
    images, share, generated = digits(2), rng.uniform(size=(2, 1, 1, 1)), rng.uniform(size=(2, 1, 8, 8))

    def f(*weights):
        dtype = weights[0].dtype
        return loss(*(nd.array(a, dtype=dtype) for a in (images, share, generated)), weights)

    gradcheck(f, parameters(rng), directions=3)


def sgd(weights, states, step):
    for w in weights:
        nd.sgd_update(w, w.grad, lr=0.02, out=w)


def adam(weights, states, step):
    for w, (mean, square) in zip(weights, states, strict=True):
        mean[:] = 0.5 * mean + 0.5 * w.grad
        square[:] = 0.9 * square + 0.1 * w.grad * w.grad
        unbiased, scale = mean / (1 - 0.5**step), (square / (1 - 0.9**step)).sqrt()
        w[:] = w - 0.01 * unbiased / (scale + 1e-8)


@pytest.mark.parametrize("update", [sgd, adam])
def test_the_penalised_norms_move_to_one(update):
    """They come near 1 and the loss falls, while the critic learns to tell digits from noise."""
    rng = np.random.default_rng(1)
    images = nd.array(digits(32))
    generated = nd.array(rng.uniform(size=images.shape))
    weights = [nd.array(w) for w in parameters(rng)]
    states = [(nd.zeros_like(w), nd.zeros_like(w)) for w in weights]
    for w in weights:
        w.attach_grad()
    losses, errors = [], []
    for step in range(1, 61):
        share = nd.array(rng.uniform(size=(32, 1, 1, 1)))
        with autograd.record():
            total = loss(images, share, generated, weights)
            away = (norms(images, share, generated, weights) - 1).abs().mean()
        total.backward()
        update(weights, states, step)
        losses.append(total.asscalar())
        errors.append(away.asscalar())
    assert np.isfinite(losses).all()
    assert np.mean(errors[-10:]) < 0.2
    assert np.mean(errors[-10:]) < errors[0] / 2
    assert np.mean(losses[-10:]) < losses[0] - 0.5
    apart = critic(images, *weights).mean() - critic(generated, *weights).mean()
    assert apart.asscalar() > 0.5
