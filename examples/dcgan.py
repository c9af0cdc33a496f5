"""Train a DCGAN on Fashion-MNIST (Radford et al., 2015): one net imagines clothes, one judges them.

    python examples/dcgan.py

comes to clothes that one recognises. Neither loss says how good they are; the distance of their means over
4 x 4 pixels from those of real images (Fréchet's, as between normal distributions) falls from 6, of noise,
to 0.15.
"""

import sys

import common
import fashion
import numpy as np

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn
from clgrad.gluon.data.vision import transforms

ADAM = {"learning_rate": 2e-4, "beta1": 0.5}


def generator(channels: int) -> nn.HybridSequential:
    """Codes (batch, size, 1, 1) become images (batch, 1, 28, 28) from -1 to 1."""
    net = nn.HybridSequential(prefix="generator_")
    with net.name_scope():
        net.add(
            nn.Conv2DTranspose(4 * channels, 7, use_bias=False),
            nn.BatchNorm(),
            nn.Activation("relu"),
            nn.Conv2DTranspose(2 * channels, 4, strides=2, padding=1, use_bias=False),
            nn.BatchNorm(),
            nn.Activation("relu"),
            nn.Conv2DTranspose(1, 4, strides=2, padding=1, activation="tanh"),
        )
    return net


def discriminator(channels: int) -> nn.HybridSequential:
    """Images get a score each: above 0 where they are taken for real."""
    net = nn.HybridSequential(prefix="discriminator_")
    with net.name_scope():
        net.add(
            nn.Conv2D(channels, 4, strides=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2D(2 * channels, 4, strides=2, padding=1, use_bias=False),
            nn.BatchNorm(),
            nn.LeakyReLU(0.2),
            nn.Dense(1),
        )
    return net


class Game:
    """The two nets, and a step of each."""

    def __init__(self, args):
        self.code = args.code
        self.generator, self.discriminator = generator(args.channels), discriminator(args.channels)
        for net in (self.generator, self.discriminator):
            net.initialize(mx.init.Normal(0.02))
        self.trainers = [
            gluon.Trainer(net.collect_params(), "adam", ADAM)
            for net in (self.generator, self.discriminator)
        ]
        self.loss_of = gluon.loss.SigmoidBinaryCrossEntropyLoss()
        self.step = common.capture(args)(self._step)

    def codes(self, count: int) -> nd.NDArray:
        return nd.random.normal(shape=(count, self.code, 1, 1))

    def imagine(self, count: int) -> np.ndarray:
        """Images (count, 28, 28) from 0 to 1."""
        return (self.generator(self.codes(count)).asnumpy()[:, 0] + 1) / 2

    def _step(self, real: nd.NDArray) -> tuple[nd.NDArray, nd.NDArray]:
        """Losses of generator and discriminator."""
        count = len(real)
        ones, zeros = nd.ones((count, 1)), nd.zeros((count, 1))
        with autograd.record():
            imagined = self.generator(self.codes(count))
            told = self.loss_of(self.discriminator(real), ones)
            # Detached: the judge's step is not the generator's
            told = told + self.loss_of(self.discriminator(imagined.detach()), zeros)
        told.backward()
        self.trainers[1].step(count)
        with autograd.record():
            fooled = self.loss_of(self.discriminator(imagined), ones)
        fooled.backward()
        self.trainers[0].step(count)
        return fooled.mean(), told.mean()


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "dcgan")
    common.add_passes(parser, epochs=4, batch_size=64)
    fashion.add_data(parser)
    parser.add_argument("--code", type=common.positive, default=64, help="numbers that an image is made of")
    parser.add_argument("--channels", type=common.positive, default=16, help="of the narrowest layer")
    args = common.begin(parser, arguments)
    train, test = fashion.load(args)
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    batches = common.loader(args, train.transform_first(prepare), prefetch=4)

    game = Game(args)
    with common.Progress(args.epochs * len(batches), "image", args.batch_size) as progress:
        for _ in range(args.epochs):
            for images, _ in batches:
                fooled, told = game.step(images)
                progress.update(generator=fooled, discriminator=told)

    imagined, found, result = fashion.judge(game.imagine, fashion.pixels(test))
    figure = common.figure(result)
    left, right = figure.subfigures(1, 2)
    axes = left.add_subplot()
    for (name, values), color in zip(progress.curves.items(), (common.BLUE, common.RED), strict=True):
        common.draw_curve(axes, values, end=args.epochs, color=color, label=name)
    axes.set(title="Training", xlabel="epoch", ylabel="cross-entropy (nats)", xlim=(0, args.epochs))
    axes.legend()
    right.suptitle("Imagined", fontsize=12)
    common.draw_images(right, imagined, rows=5, columns=8)
    trained = common.parameters(game.generator, game.discriminator)
    return common.conclude(args, result, found, figure, trained, progress.curves)


if __name__ == "__main__":
    sys.exit(main())
