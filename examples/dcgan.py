"""Train a DCGAN on Fashion-MNIST (Radford et al., 2015): one net imagines clothes, one judges."""

import argparse
import math
import sys
from pathlib import Path

import common
import numpy as np
from matplotlib.figure import Figure

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn
from clgrad.gluon.data.vision import FashionMNIST, transforms

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


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    out = Path(__file__).parent / "output" / "dcgan.png"
    parser.add_argument("--data", type=Path, required=True, help="folder that has the idx files")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the images")
    parser.add_argument("--batch-size", type=int, default=64, help="images a step")
    parser.add_argument("--code", type=int, default=64, help="numbers that an image is made of")
    parser.add_argument("--channels", type=int, default=16, help="of the narrowest layer")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    parser.add_argument("--out", type=Path, default=out, help="figure to write")
    parser.add_argument(
        "--require-distance",
        type=float,
        default=math.inf,
        metavar="D",
        help="exit with status 1 if imagined images are farther from real ones",
    )
    return parser.parse_args()


def features(images: np.ndarray) -> np.ndarray:
    """Means over 4 x 4 pixels."""
    return images.reshape(len(images), 7, 4, 7, 4).mean(axis=(2, 4)).reshape(len(images), 49)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Fréchet distance between two sets of images, as of normally distributed features."""
    means = [features(images).mean(axis=0) for images in (one, other)]
    spreads = [np.cov(features(images), rowvar=False) for images in (one, other)]
    roots = np.sqrt(np.maximum(np.linalg.eigvals(spreads[0] @ spreads[1]).real, 0))
    gap = ((means[0] - means[1]) ** 2).sum() + np.trace(spreads[0] + spreads[1]) - 2 * roots.sum()
    return float(gap)


class Game:
    """The two nets, and a step of each."""

    def __init__(self, args):
        self.code = args.code
        self.generator, self.discriminator = generator(args.channels), discriminator(args.channels)
        for net in (self.generator, self.discriminator):
            net.initialize(mx.init.Normal(0.02))
            net.hybridize()
        self.generator(self.codes(1))  # tells the shapes
        self.discriminator(nd.zeros((1, 1, 28, 28)))
        self.trainers = [
            gluon.Trainer(net.collect_params(), "adam", ADAM)
            for net in (self.generator, self.discriminator)
        ]
        self.loss_of = gluon.loss.SigmoidBinaryCrossEntropyLoss()

    def codes(self, count: int) -> nd.NDArray:
        return nd.random.normal(shape=(count, self.code, 1, 1))

    def imagine(self, count: int) -> np.ndarray:
        """Images (count, 28, 28) from 0 to 1."""
        return (self.generator(self.codes(count)).asnumpy()[:, 0] + 1) / 2

    def step(self, real: nd.NDArray) -> tuple[nd.NDArray, nd.NDArray]:
        """Losses of generator and discriminator."""
        count = len(real)
        ones, zeros = nd.ones((count, 1)), nd.zeros((count, 1))
        imagined = self.generator(self.codes(count))
        with autograd.record():
            told = self.loss_of(self.discriminator(real), ones)
            told = told + self.loss_of(self.discriminator(imagined), zeros)
        told.backward()
        self.trainers[1].step(count)
        with autograd.record():
            fooled = self.loss_of(self.discriminator(self.generator(self.codes(count))), ones)
        fooled.backward()
        self.trainers[0].step(count)
        return fooled.mean(), told.mean()


def draw(path: Path, losses: dict[str, list[float]], epochs: int, images: np.ndarray, title: str) -> None:
    figure = Figure(figsize=(12, 5), dpi=120, layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2)
    axes = left.add_subplot()
    for (name, values), colour in zip(losses.items(), (common.LINE, common.WRONG), strict=True):
        times = (1 + np.arange(len(values))) * epochs / len(values)
        axes.plot(times, values, color=colour, linewidth=0.6, alpha=0.8, label=name)
    axes.set(xlabel="epoch", ylabel="cross-entropy")
    axes.grid(alpha=0.3)
    axes.legend()
    for axes, image in zip(right.subplots(5, 8).flat, images, strict=True):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    args = options()
    try:
        train, test = (FashionMNIST(args.data, train=part) for part in (True, False))
    except mx.MXNetError as error:
        sys.exit(f"dcgan.py: {error}")
    common.show_device()
    mx.random.seed(args.seed)
    np.random.seed(args.seed)
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    loader = gluon.data.DataLoader(
        train.transform_first(prepare), args.batch_size, shuffle=True, last_batch="rollover", prefetch=4
    )
    game, told = Game(args), []
    batches = common.Epochs(loader, args.batch_size, args.epochs)
    with common.Progress(batches) as progress:
        for images, _ in batches:
            fooled, loss = game.step(images)
            told.append(loss)
            progress.update(fooled)
    print(f"training: {progress.images_per_second:,.0f} images per second")
    held_back = test[:][0].asnumpy()[..., 0].astype(np.float32) / 255
    imagined = np.concatenate([game.imagine(min(200, len(test))) for _ in range(-(-len(test) // 200))])
    found = distance(imagined, held_back)
    noise = distance(np.random.uniform(size=imagined.shape), held_back)
    halves = distance(held_back[::2], held_back[1::2])
    result = (
        f"Fréchet distance {found:.2f} to held-back images (noise {noise:.1f}, their halves {halves:.2f})"
    )
    print(f"result: {result}")
    losses = {"generator": progress.losses, "discriminator": [float(x) for x in told]}
    draw(args.out, losses, args.epochs, imagined[:40], result)
    print(f"figure: {args.out}")
    if found > args.require_distance:
        print(f"failed: a distance of at most {args.require_distance:.2f} is required", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
