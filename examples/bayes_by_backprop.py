"""Classify handwritten digits by weights that are distributions (Blundell et al., 2015).

    python examples/bayes_by_backprop.py

Each weight has a mean and a deviation, learned by gradients through weights that are drawn anew at each
step. Averaged over such draws, the net says how sure it is. A net of plain weights is trained beside
it: of digits like those they have seen, both are about as sure as they are right; of turned digits and
of noise, the plain net is surer.

Weights that are distributed each by itself fit few data badly: with the divergence from the prior at
full weight, the net doubts far more than it errs. So it is weighed less (`--temperature`; Wenzel et
al., 2020).
"""

import functools
import itertools
import math
import sys

import common
import numpy as np
from digits import load
from scipy.ndimage import rotate

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn

BINS = 10
ANGLES = np.arange(0, 181, 15)
RATE = 0.01


class BayesianDense(gluon.HybridBlock):
    """A dense layer whose weights are normally distributed, each by itself, and drawn at each call."""

    def __init__(self, units: int, in_units: int, prior: float, **kwargs):
        super().__init__(**kwargs)
        #: Deviation of weights before any data: `prior` of what keeps the variance of what relu gives.
        self.units, self.prior = units, prior * math.sqrt(2 / in_units)
        shape = (units, in_units + 1)  # the last column is the bias
        with self.name_scope():
            self.mean = self.params.get("mean", shape=shape, init=mx.init.Xavier())
            # The deviation is log(1 + exp(spread)), which is positive
            self.spread = self.params.get("spread", shape=shape, init=mx.init.Constant(-4))

    def hybrid_forward(self, F, x, mean, spread):
        deviation = F.Activation(spread, act_type="softrelu")
        drawn = mean + deviation * F.random.normal_like(mean)
        weight = F.slice_axis(drawn, axis=1, begin=0, end=-1)
        bias = F.reshape(F.slice_axis(drawn, axis=1, begin=-1, end=None), shape=(-1,))
        return F.FullyConnected(x, weight, bias, num_hidden=self.units)

    def divergence(self) -> nd.NDArray:
        """KL(N(mean, deviation) || N(0, prior)), summed over the weights."""
        mean, deviation = self.mean.data(), nd.softrelu(self.spread.data())
        ratio = (mean * mean + deviation * deviation) / self.prior**2
        return ((ratio - 1) / 2 - nd.log(deviation / self.prior)).sum()


def make_net(sizes: list[int], layer) -> nn.HybridSequential:
    net = nn.HybridSequential()
    net.add(nn.Flatten())
    for inputs, outputs in itertools.pairwise(sizes):
        if len(net) > 1:
            net.add(nn.Activation("relu"))
        net.add(layer(outputs, in_units=inputs))
    return net


def train(name: str, net: nn.HybridSequential, args, batches, count: int) -> np.ndarray:
    """Losses of all steps: the cross-entropy, and the weights' divergence, which all images share."""
    steps = args.epochs * len(batches)
    net.initialize(mx.init.Xavier())
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    falling = mx.lr_scheduler.PolyScheduler(steps, base_lr=RATE, pwr=1)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": RATE, "lr_scheduler": falling})
    distributed = [layer for layer in net if isinstance(layer, BayesianDense)]

    @common.capture(args)
    def step(images, labels):
        with autograd.record():
            loss = loss_of(net(images), labels).mean()
            for layer in distributed:
                loss = loss + args.temperature * layer.divergence() / count
        loss.backward()
        trainer.step(1)
        return loss

    with common.Progress(steps, "image", args.batch_size, name) as progress:
        for _ in range(args.epochs):
            for images, labels in batches:
                progress.update(loss=step(images, labels))
    net.hybridize(args.capture == "fuse")
    return progress.curves["loss"]


def probabilities(net, images: np.ndarray, draws: int) -> np.ndarray:
    """Of each class (images, classes): the mean over draws of the weights."""
    images = nd.array(images)
    return np.mean([nd.softmax(net(images)).asnumpy() for _ in range(draws)], axis=0)


def calibration(chances: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Confidence, accuracy and its standard error in bins of confidence; the expected calibration error."""
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    full, counts = counts > 0, counts[counts > 0]
    confidence, accuracy = (
        np.bincount(bins, weights=values, minlength=BINS)[full] / counts for values in (sure, right)
    )
    error = (counts * np.abs(confidence - accuracy)).sum() / counts.sum()
    return [confidence, accuracy, np.sqrt(accuracy * (1 - accuracy) / counts)], float(error)


def entropy(chances: np.ndarray) -> np.ndarray:
    """In bits, of each row."""
    return -(chances * np.log2(np.maximum(chances, 1e-12))).sum(axis=1)


class Judged:
    """What a net says of held-back images, of the same turned, and of noise."""

    def __init__(self, net, images: np.ndarray, labels: np.ndarray, draws: int):
        self.chances = probabilities(net, images, draws)
        self.accuracy = float(np.mean(self.chances.argmax(axis=1) == labels))
        self.cost = float(-np.log(np.maximum(self.chances[np.arange(len(labels)), labels], 1e-12)).mean())
        self.bins, self.error = calibration(self.chances, labels)
        noise = np.random.default_rng(0).uniform(size=images.shape).astype(np.float32)
        self.doubt = float(entropy(probabilities(net, noise, draws)).mean())
        turned = [rotate(images, angle, axes=(2, 3), reshape=False, order=1) for angle in ANGLES]
        judged = [probabilities(net, part, draws) for part in turned]
        self.turned_confidence = [float(chances.max(axis=1).mean()) for chances in judged]
        self.turned_accuracy = [float(np.mean(chances.argmax(axis=1) == labels)) for chances in judged]
        self.turned_error = calibration(np.concatenate(judged), np.tile(labels, len(ANGLES)))[-1]

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.2%}, {self.cost:.3f} nats per label, "
            f"calibration error {self.error:.1%}, of turned digits {self.turned_error:.1%}, "
            f"{self.doubt:.2f} bits of doubt about noise"
        )


def draw_judged(judged: dict[str, Judged], images: np.ndarray, labels: np.ndarray, title: str):
    figure = common.figure(title, width=14)
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1, 1.1))
    reliability, turned = left.add_subplot(), middle.add_subplot()
    reliability.plot([0, 1], [0, 1], color=common.GRAY, linewidth=0.8)
    for (name, of), color in zip(judged.items(), (common.BLUE, common.RED), strict=True):
        reliability.errorbar(
            *of.bins, fmt="o-", capsize=2, color=color, label=f"{name}: error {of.error:.1%}"
        )
        turned.plot(ANGLES, of.turned_confidence, color=color, label=f"confidence, {name}")
        turned.plot(ANGLES, of.turned_accuracy, "--", color=color, label=f"accuracy, {name}")
    reliability.set(title="Held-back digits", xlabel="confidence", ylabel="accuracy")
    turned.set(title="The same, turned", xlabel="degrees", ylim=(0, 1), xticks=ANGLES[::3])
    for axes in (reliability, turned):
        axes.grid(alpha=0.3)
        axes.legend()
    chances = judged["Bayesian"].chances
    doubtful = np.argsort(-entropy(chances))[:15]
    right.suptitle("The most doubtful: chances of two digits", fontsize=12)
    titles = []
    for i in doubtful:
        first, second = np.argsort(-chances[i])[:2]
        text = f"{first}: {chances[i, first]:.0%}\n{second}: {chances[i, second]:.0%}"
        titles.append((text, common.GREEN if first == labels[i] else common.RED))
    common.draw_images(right, images[doubtful, 0], rows=3, columns=5, titles=titles)
    return figure


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "bayes_by_backprop")
    common.add_passes(parser, epochs=100, batch_size=64)
    parser.add_argument("--hidden", type=common.positive, default=64, help="units of the layer between")
    parser.add_argument(
        "--prior", type=float, default=4.0, help="of weights before any data, in He's deviations"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.05, help="weight of the divergence from the prior"
    )
    parser.add_argument("--draws", type=common.positive, default=50, help="of weights, for a prediction")
    args = common.begin(parser, arguments)
    train_set, test_set = load(args.seed, held_back=0.5)
    images, labels = (np.stack(part) for part in zip(*test_set, strict=True))
    labels = labels.astype(int)
    batches = common.loader(args, train_set)

    sizes = [images[0].size, args.hidden, 10]
    nets = {
        "Bayesian": make_net(sizes, functools.partial(BayesianDense, prior=args.prior)),
        "plain": make_net(sizes, nn.Dense),
    }
    curves = {name: train(name, net, args, batches, len(train_set)) for name, net in nets.items()}
    draws = {"Bayesian": args.draws, "plain": 1}
    judged = {name: Judged(net, images, labels, draws[name]) for name, net in nets.items()}
    bayesian, plain = judged["Bayesian"], judged["plain"]
    print(f"plain: {plain}")
    title = (
        f"Bayes by backprop: {bayesian.cost:.3f} nats per label (plain weights {plain.cost:.3f}), "
        f"calibration error of turned digits {bayesian.turned_error:.0%} ({plain.turned_error:.0%}), "
        f"{bayesian.doubt:.1f} bits of doubt about noise ({plain.doubt:.1f})"
    )
    figure = draw_judged(judged, images, labels, title)
    trained = common.parameters(*nets.values())
    result = f"Bayesian: {bayesian}"
    return common.conclude(args, result, bayesian.accuracy, figure, trained, curves, higher_is_better=True)


if __name__ == "__main__":
    sys.exit(main())
