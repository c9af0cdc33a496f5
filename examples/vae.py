"""Train a variational auto-encoder on Fashion-MNIST (Kingma & Welling, 2013), and imagine clothes.

    python examples/vae.py

comes to 241 nats for an image that is held back. An image becomes a distribution of codes, and a code
drawn from it an image again. The loss is minus the evidence lower bound: what it costs to tell the code,
and then the image.
"""

import math
import sys

import common
import fashion
import numpy as np

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn
from clgrad.gluon.data.vision import transforms

PIXELS = 28 * 28


class VAE(gluon.HybridBlock):
    """Called with images, it gives what each costs, in nats: its code, and the image behind that."""

    def __init__(self, code: int, hidden: int, **kwargs):
        super().__init__(**kwargs)
        self.code = code
        with self.name_scope():
            self.encoder = nn.HybridSequential()
            self.encoder.add(nn.Dense(hidden, activation="relu"), nn.Dense(2 * code))
            self.decoder = nn.HybridSequential()
            self.decoder.add(nn.Dense(hidden, activation="relu"), nn.Dense(PIXELS))

    def hybrid_forward(self, F, images):
        pixels = F.flatten(images)
        mean, log_variance = F.split(self.encoder(pixels), num_outputs=2, axis=1)
        codes = mean + F.exp(0.5 * log_variance) * F.random.normal_like(mean)
        divergence = 0.5 * (mean * mean + F.exp(log_variance) - 1 - log_variance)
        scores = self.decoder(codes)
        # Pixels are shades, taken for probabilities of being black
        likelihood = pixels * scores - F.Activation(scores, act_type="softrelu")
        return F.sum(divergence, axis=1), -F.sum(likelihood, axis=1)

    def decode(self, codes: nd.NDArray) -> np.ndarray:
        """Images of codes."""
        return nd.sigmoid(self.decoder(codes)).asnumpy().reshape(-1, 28, 28)

    def reconstruct(self, images: nd.NDArray) -> np.ndarray:
        """Images of the codes that images most probably have."""
        mean, _ = nd.split(self.encoder(images.flatten()), num_outputs=2, axis=1)
        return self.decode(mean)


def draw(net: VAE, images: nd.NDArray, curves, epochs: int, held_back: float, title: str):
    figure = common.figure(title)
    left, right = figure.subfigures(1, 2)
    axes = left.add_subplot()
    cost = curves["code"] + curves["image"]
    common.draw_curve(axes, cost, end=epochs, label="while training")
    axes.axhline(held_back, color=common.RED, linestyle="--", label="held back")
    axes.set(title="What an image costs", xlabel="epoch", ylabel="nats", xlim=(0, epochs))
    axes.set_ylim(0.99 * cost.min(), np.quantile(cost, 0.99))
    axes.legend()
    between = np.linspace(0, 1, 8)[:, None]
    ends = nd.random.normal(shape=(2, net.code)).asnumpy()
    rows = {
        "held back": images.asnumpy()[:, 0],
        "from its code": net.reconstruct(images),
        "imagined": net.decode(nd.random.normal(shape=(8, net.code))),
        "between two": net.decode(nd.array((1 - between) * ends[0] + between * ends[1])),
    }
    for line, (name, shown) in zip(right.subplots(len(rows), 8), rows.items(), strict=True):
        for axes, image in zip(line, shown, strict=True):
            axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    return figure


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "vae")
    common.add_passes(parser, epochs=20, batch_size=100)
    fashion.add_data(parser)
    parser.add_argument("--code", type=common.positive, default=16, help="numbers that stand for an image")
    parser.add_argument("--hidden", type=common.positive, default=400, help="units of the layers between")
    args = common.begin(parser, arguments)
    train, test = (part.transform_first(transforms.ToTensor()) for part in fashion.load(args))
    batches = common.loader(args, train, prefetch=4)
    steps = args.epochs * len(batches)

    net = VAE(args.code, args.hidden)
    net.initialize(mx.init.Xavier())
    falling = mx.lr_scheduler.CosineScheduler(steps, base_lr=2e-3, final_lr=1e-4)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 2e-3, "lr_scheduler": falling})

    @common.capture(args)
    def step(images):
        with autograd.record():
            code, image = net(images)
            cost = code + image
        cost.backward()
        trainer.step(args.batch_size)
        return code.mean(), image.mean()

    with common.Progress(steps, "image", args.batch_size) as progress:
        for _ in range(args.epochs):
            for images, _ in batches:
                code, image = step(images)
                progress.update(code=code, image=image)

    net.hybridize(args.capture == "fuse")
    held_back = gluon.data.DataLoader(test, 500)
    parts = [nd.stack(*net(images)).asnumpy() for images, _ in held_back]
    costs = np.concatenate(parts, axis=1).mean(axis=1)
    cost = float(costs.sum())
    result = (
        f"{cost:.1f} nats per held-back image, of which {costs[0]:.1f} for its code "
        f"({cost / PIXELS / math.log(2):.3f} bits per pixel)"
    )
    images = next(iter(held_back))[0][:8]
    figure = draw(net, images, progress.curves, args.epochs, cost, result)
    return common.conclude(args, result, cost, figure, common.parameters(net), progress.curves)


if __name__ == "__main__":
    sys.exit(main())
