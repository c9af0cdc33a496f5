"""Train a Wasserstein GAN with gradient penalty on Fashion-MNIST (Gulrajani et al., 2017).

    python examples/wgan_gp.py

brings imagined images from a distance of 15, as the critic sees it, to one of 0.7. Its scores of real and
imagined images are to lie as far apart as a function of slope 1 allows: that is the Wasserstein distance
between them. The penalty on its slope is a function of a gradient, so training differentiates a gradient:
`autograd.grad(..., create_graph=True)`.
"""

import sys

import common
import fashion
import numpy as np

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn

#: Weight of the penalty, and the optimizer, as in the paper but for a larger learning rate.
PENALTY = 10.0
ADAM = {"learning_rate": 1e-3, "beta1": 0.5, "beta2": 0.9}


def generator(channels: int) -> nn.HybridSequential:
    """Codes (batch, size) become images (batch, 1, 28, 28) from 0 to 1."""
    net = nn.HybridSequential(prefix="generator_")
    with net.name_scope():
        net.add(
            nn.Dense(2 * channels * 7 * 7, use_bias=False),
            nn.BatchNorm(),
            nn.Activation("relu"),
            nn.HybridLambda(lambda F, x: F.reshape(x, shape=(0, -1, 7, 7))),
            nn.Conv2DTranspose(channels, 4, strides=2, padding=1, use_bias=False),
            nn.BatchNorm(),
            nn.Activation("relu"),
            nn.Conv2DTranspose(1, 4, strides=2, padding=1, activation="sigmoid"),
        )
    return net


def critic(channels: int) -> nn.HybridSequential:
    """Images get a score each. No batch normalisation: the penalty is on the slope at each image alone."""
    net = nn.HybridSequential(prefix="critic_")
    with net.name_scope():
        net.add(
            nn.Conv2D(channels, 4, strides=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2D(2 * channels, 4, strides=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dense(1),
        )
    return net


class Game:
    """The two nets, and a step of each."""

    def __init__(self, args):
        self.code, self.count = args.code, args.batch_size
        self.generator, self.critic = generator(args.channels), critic(args.channels)
        for net in (self.generator, self.critic):
            net.initialize(mx.init.MSRAPrelu(factor_type="in", slope=0.2))
        self.between = nd.zeros((self.count, 1, 28, 28))
        self.between.attach_grad()
        self.trainers = [
            gluon.Trainer(net.collect_params(), "adam", ADAM) for net in (self.generator, self.critic)
        ]
        self.step_critic = common.capture(args)(self._step_critic)
        self.step_generator = common.capture(args)(self._step_generator)

    def codes(self, count: int) -> nd.NDArray:
        return nd.random.normal(shape=(count, self.code))

    def imagine(self, count: int) -> np.ndarray:
        """Images (count, 28, 28) from 0 to 1."""
        return self.generator(self.codes(count)).asnumpy()[:, 0]

    def norms(self) -> nd.NDArray:
        """Norms of the critic's gradient at images between real and imagined ones."""
        # Scores of different images do not mix, so the gradient of their sum holds that of each
        scores = self.critic(self.between).sum()
        (gradient,) = autograd.grad(scores, [self.between], create_graph=True)
        return nd.sqrt((gradient * gradient).sum(axis=(1, 2, 3)) + 1e-12)

    def _step_critic(self, real):
        """The distance that the critic sees, and the mean norm of its gradient."""
        with autograd.train_mode():  # of the generator's batch normalisation, as in its own step
            imagined = self.generator(self.codes(self.count))
        share = nd.random.uniform(shape=(self.count, 1, 1, 1))
        self.between[:] = share * real + (1 - share) * imagined
        with autograd.record():
            seen = self.critic(real).mean() - self.critic(imagined).mean()
            norms = self.norms()
            loss = PENALTY * ((norms - 1) ** 2).mean() - seen
        loss.backward()
        self.trainers[1].step(1)
        return seen, norms.mean()

    def _step_generator(self):
        with autograd.record():
            loss = -self.critic(self.generator(self.codes(self.count))).mean()
        loss.backward()
        self.trainers[0].step(1)


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "wgan_gp")
    fashion.add_data(parser)
    count = common.positive
    parser.add_argument("--steps", type=count, default=2000, help="of the generator")
    parser.add_argument("--critic-steps", type=count, default=3, help="for each of these")
    parser.add_argument("--batch-size", type=count, default=64, help="images a step")
    parser.add_argument("--code", type=count, default=64, help="numbers that an image is made of")
    parser.add_argument("--channels", type=count, default=16, help="of the narrowest layer")
    args = common.begin(parser, arguments)
    pictures, held_back = map(fashion.pixels, fashion.load(args))

    game = Game(args)
    with common.Progress(args.steps * args.critic_steps) as progress:
        for _ in range(args.steps):
            for _ in range(args.critic_steps):
                chosen = np.random.randint(len(pictures), size=args.batch_size)
                seen, norm = game.step_critic(nd.array(pictures[chosen, np.newaxis]))
                progress.update(distance=seen, norm=norm)
            game.step_generator()

    imagined, found, result = fashion.judge(game.imagine, held_back)
    curves = progress.curves
    last = slice(-max(1, len(curves["norm"]) // 10), None)
    distance, norm = (float(curves[name][last].mean()) for name in ("distance", "norm"))
    print(f"critic: distance {distance:.3f}, norm of its gradient {norm:.3f}")

    figure = common.figure(result)
    left, right = figure.subfigures(1, 2)
    upper, lower = left.subplots(2, 1, sharex=True)
    common.draw_curve(upper, curves["distance"])
    upper.set(title="Training", ylabel="distance that the critic sees", ylim=(0, None))
    common.draw_curve(lower, curves["norm"], color=common.RED)
    lower.axhline(1, color=common.GRAY, linewidth=0.8)
    lower.set(xlabel="step of the critic", ylabel="mean norm of its gradient", ylim=(0, 2))
    right.suptitle("Imagined", fontsize=12)
    common.draw_images(right, imagined, rows=5, columns=8)
    trained = common.parameters(game.generator, game.critic)
    return common.conclude(args, result, found, figure, trained, curves)


if __name__ == "__main__":
    sys.exit(main())
