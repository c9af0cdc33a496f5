"""Train a variational auto-encoder on Fashion-MNIST (Kingma & Welling, 2013), and imagine clothes."""

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

PIXELS = 28 * 28


class VAE(gluon.HybridBlock):
    """An image becomes a distribution of codes; a code drawn from it becomes an image again."""

    def __init__(self, code: int, hidden: int, **kwargs):
        super().__init__(**kwargs)
        self.code = code
        with self.name_scope():
            self.encoder = nn.HybridSequential()
            self.encoder.add(nn.Dense(hidden, activation="relu"), nn.Dense(2 * code))
            self.decoder = nn.HybridSequential()
            self.decoder.add(nn.Dense(hidden, activation="relu"), nn.Dense(PIXELS))

    def hybrid_forward(self, F, images):
        """Minus the evidence lower bound of each image, in nats."""
        pixels = F.flatten(images)
        mean, log_variance = F.split(self.encoder(pixels), num_outputs=2, axis=1)
        noise = F.random.normal_like(mean)
        scores = self.decoder(mean + F.exp(0.5 * log_variance) * noise)
        # Pixels are shades, taken for probabilities of being white
        likelihood = pixels * scores - F.Activation(scores, act_type="softrelu")
        divergence = 0.5 * (mean * mean + F.exp(log_variance) - 1 - log_variance)
        return F.sum(divergence, axis=1) - F.sum(likelihood, axis=1)

    def decode(self, codes: nd.NDArray) -> np.ndarray:
        """Images of codes."""
        return nd.sigmoid(self.decoder(codes)).asnumpy().reshape(-1, 28, 28)

    def reconstruct(self, images: nd.NDArray) -> np.ndarray:
        """Images of the codes that images most probably have."""
        mean, _ = nd.split(self.encoder(images.flatten()), num_outputs=2, axis=1)
        return self.decode(mean)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that has the idx files")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the images")
    parser.add_argument("--batch-size", type=int, default=100, help="images a step")
    parser.add_argument("--code", type=int, default=16, help="numbers that stand for an image")
    parser.add_argument("--hidden", type=int, default=400, help="size of the layers between")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "output" / "vae.png", help="figure to write"
    )
    parser.add_argument(
        "--require-bound",
        type=float,
        default=math.inf,
        metavar="NATS",
        help="exit with status 1 if a held-back image costs more",
    )
    return parser.parse_args()


def draw(path: Path, losses: list[float], epochs: int, rows: dict[str, np.ndarray], title: str) -> None:
    figure = Figure(figsize=(12, 5), dpi=120, layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2)
    axes = left.add_subplot()
    axes.plot((1 + np.arange(len(losses))) * epochs / len(losses), losses, color=common.LINE, linewidth=0.8)
    axes.set(xlabel="epoch", ylabel="nats per image", ylim=(min(losses) * 0.98, np.quantile(losses, 0.98)))
    axes.grid(alpha=0.3)
    grid = right.subplots(len(rows), len(next(iter(rows.values()))))
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    args = options()
    try:
        train, test = (FashionMNIST(args.data, train=part) for part in (True, False))
    except mx.MXNetError as error:
        sys.exit(f"vae.py: {error}")
    common.show_device()
    mx.random.seed(args.seed)
    np.random.seed(args.seed)
    to_tensor = transforms.ToTensor()
    loader = gluon.data.DataLoader(
        train.transform_first(to_tensor), args.batch_size, shuffle=True, last_batch="rollover", prefetch=4
    )
    net = VAE(args.code, args.hidden)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 1e-3})
    batches = common.Epochs(loader, args.batch_size, args.epochs)
    with common.Progress(batches) as progress:
        for images, _ in batches:
            with autograd.record():
                bound = net(images)
            bound.backward()
            trainer.step(args.batch_size)
            progress.update(bound.mean())
    held_back = gluon.data.DataLoader(test.transform_first(to_tensor), 500)
    costs = [net(images).mean().asscalar() for images, _ in held_back]
    cost = float(np.mean(costs))
    result = f"{cost:.1f} nats per held-back image ({cost / PIXELS / math.log(2):.3f} bits per pixel)"
    print(f"training: {progress.images_per_second:,.0f} images per second")
    print(f"result: {result}")
    images = next(iter(held_back))[0][:8]
    drawn = np.vstack([net.decode(nd.random.normal(shape=(8, args.code))) for _ in range(2)])
    rows = {
        "held back": images.asnumpy()[:, 0],
        "from its code": net.reconstruct(images),
        "imagined": drawn[:8],
        "and more": drawn[8:],
    }
    draw(args.out, progress.losses, args.epochs, rows, result)
    print(f"figure: {args.out}")
    if cost > args.require_bound:
        print(f"failed: at most {args.require_bound:.1f} nats are required", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
