"""Train a Wasserstein GAN with gradient penalty on Fashion-MNIST (Gulrajani et al., 2017).

The critic's scores of real and imagined images are to lie as far apart as a function of slope 1 allows:
that is the Wasserstein distance between them. The penalty on its slope is a function of a
gradient, so training differentiates a gradient: `autograd.grad(..., create_graph=True)`.
"""

import math
import sys
from pathlib import Path

import common
import numpy as np
from dcgan import distance
from matplotlib.figure import Figure
from tqdm import tqdm

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn
from clgrad.gluon.data.vision import FashionMNIST

#: Weight of the penalty, and the optimizer, as in the paper.
PENALTY = 10.0
ADAM = {"learning_rate": 5e-4, "beta1": 0.5, "beta2": 0.9}


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
        self.generator.hybridize()
        self.critic(self.generator(self.codes(1)))  # tells the shapes
        self.between = nd.zeros((self.count, 1, 28, 28))
        self.between.attach_grad()
        self.trainers = [
            gluon.Trainer(net.collect_params(), "adam", ADAM) for net in (self.generator, self.critic)
        ]
        self.step_critic = mx.capture(self._step_critic)
        self.step_generator = mx.capture(self._step_generator)

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


def draw(path: Path, seen: np.ndarray, norms: np.ndarray, images: np.ndarray, title: str) -> None:
    figure = Figure(figsize=(12, 5), dpi=120, layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2)
    upper, lower = left.subplots(2, 1, sharex=True)
    upper.plot(seen, color=common.LINE, linewidth=0.8)
    upper.set(ylabel="distance that the critic sees")
    lower.plot(norms, color=common.WRONG, linewidth=0.8)
    lower.axhline(1, color="gray", linewidth=0.8)
    lower.set(xlabel="step of the critic", ylabel="mean norm of its gradient", ylim=(0, 2))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    for axes, image in zip(right.subplots(5, 8).flat, images, strict=True):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axes.set_axis_off()
    common.save(figure, path)


def main() -> int:
    parser = common.parser(__doc__.splitlines()[0], out="wgan_gp.png")
    parser.add_argument("--data", type=Path, required=True, help="folder that has the idx files")
    parser.add_argument("--steps", type=common.positive, default=1000, help="of the generator")
    parser.add_argument("--critic-steps", type=common.positive, default=3, help="for each of these")
    parser.add_argument("--batch-size", type=common.positive, default=64, help="images a step")
    parser.add_argument("--code", type=common.positive, default=64, help="numbers that an image is made of")
    parser.add_argument("--channels", type=common.positive, default=16, help="of the narrowest layer")
    parser.add_argument(
        "--require-distance",
        type=float,
        default=math.inf,
        metavar="D",
        help="exit with status 1 if imagined images are farther from real ones",
    )
    args = parser.parse_args()
    try:
        train, test = (FashionMNIST(args.data, train=part)[:][0].asnumpy() for part in (True, False))
    except mx.MXNetError as error:
        sys.exit(f"wgan_gp.py: {error}")
    common.show_device()
    mx.random.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    pictures, held_back = (part[..., 0].astype(np.float32) / 255 for part in (train, test))
    game, records = Game(args), []
    with tqdm(total=args.steps, unit=" steps") as bar:
        for number in range(args.steps):
            for _ in range(args.critic_steps):
                chosen = rng.integers(len(pictures), size=args.batch_size)
                records.append(game.step_critic(nd.array(pictures[chosen][:, None])))
            game.step_generator()
            if number % 10 == 9:  # reading a value waits for the device
                bar.set_postfix(distance=f"{float(records[-1][0]):.3f}")
            bar.update()
    seen, norms = np.array([[float(value) for value in record] for record in records]).T
    imagined = np.concatenate([game.imagine(200) for _ in range(-(-len(held_back) // 200))])[
        : len(held_back)
    ]
    found = distance(imagined, held_back)
    noise = distance(rng.uniform(size=held_back.shape), held_back)
    last = slice(-max(1, len(seen) // 10), None)
    print(f"critic: distance {seen[last].mean():.3f}, norm of its gradient {norms[last].mean():.3f}")
    result = f"Fréchet distance {found:.2f} to held-back images (noise {noise:.1f})"
    print(f"result: {result}")
    draw(args.out, seen, norms, imagined[:40], result)
    demand = f"a distance of at most {args.require_distance:.2f} is required"
    return common.verdict(found <= args.require_distance, demand)


if __name__ == "__main__":
    sys.exit(main())
