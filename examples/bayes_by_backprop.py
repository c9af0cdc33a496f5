"""Classify handwritten digits by weights that are distributions (Blundell et al., 2015).

Each weight has a mean and a spread, learned by gradients through weights that are drawn anew at each step.
Averaged over such draws, the net says how sure it is: it errs on the side of doubt about held-back digits,
and doubts digits that are turned and pictures that are none, of which a net of plain weights is sure.
"""

import itertools
import sys

import common
import numpy as np
from digits import load
from matplotlib.figure import Figure
from scipy.ndimage import rotate
from tqdm import tqdm

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn

BINS = 10
ANGLES = np.arange(0, 181, 15)


class BayesianDense(gluon.HybridBlock):
    """A dense layer whose weights are normally distributed, each by itself, and drawn at each call."""

    def __init__(self, units: int, in_units: int, prior: float, **kwargs):
        super().__init__(**kwargs)
        self.prior, self.units = prior, units
        shape = (units, in_units + 1)  # the last column is the bias
        with self.name_scope():
            self.mean = self.params.get("mean", shape=shape, init=mx.init.Xavier())
            # The deviation is log(1 + exp(spread)), which is positive
            self.spread = self.params.get("spread", shape=shape, init=mx.init.Constant(-4))

    def hybrid_forward(self, F, x, mean, spread):
        """The layer's results, and the divergence of its weights from the prior."""
        deviation = F.Activation(spread, act_type="softrelu")
        drawn = mean + deviation * F.random.normal_like(mean)
        weight, bias = (
            F.slice_axis(drawn, axis=1, begin=0, end=-1),
            F.slice_axis(drawn, axis=1, begin=-1, end=None),
        )
        result = F.FullyConnected(x, weight, F.reshape(bias, shape=(-1,)), num_hidden=self.units)
        return result, F.sum(self._divergence(F, mean, deviation))

    def _divergence(self, F, mean, deviation):
        """KL(N(mean, deviation) || N(0, prior)), of each weight."""
        ratio = (mean * mean + deviation * deviation) / self.prior**2
        return (ratio - 1) / 2 - F.log(deviation / self.prior)


class BayesianNet(gluon.HybridBlock):
    """Scores of classes, and the divergence of all weights from their prior."""

    def __init__(self, sizes: list[int], prior: float, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.layers = nn.HybridSequential()
            for inputs, outputs in itertools.pairwise(sizes):
                self.layers.add(BayesianDense(outputs, inputs, prior))

    def hybrid_forward(self, F, x):
        total = 0
        for i, layer in enumerate(self.layers):
            x, divergence = layer(F.relu(x) if i else F.flatten(x))
            total = divergence + total
        return x, total


def plain_net(sizes: list[int]) -> nn.HybridSequential:
    net = nn.HybridSequential()
    for size in sizes[1:-1]:
        net.add(nn.Dense(size, activation="relu"))
    net.add(nn.Dense(sizes[-1]))
    return net


def train(net, batches: common.Batches, rate: float, bar: tqdm) -> None:
    """The loss is the cross-entropy and the weights' divergence, which all images share."""
    net.initialize(mx.init.Xavier())
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": rate})
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    for step, (images, labels) in enumerate(batches):
        trainer.set_learning_rate(rate * (1 - step / len(batches)))
        with autograd.record():
            scores = net(images)
            divergence = 0.0
            if isinstance(scores, list | tuple):
                scores, divergence = scores
            loss = loss_of(scores, labels).mean() + divergence / len(batches.images)
        loss.backward()
        trainer.step(1)
        bar.update()


def probabilities(net, images: np.ndarray, draws: int) -> np.ndarray:
    """Of each class (images, classes): the mean over draws of the weights."""
    images = nd.array(images)
    if isinstance(net, BayesianNet):
        return np.mean([nd.softmax(net(images)[0]).asnumpy() for _ in range(draws)], axis=0)
    return nd.softmax(net(images)).asnumpy()


def calibration(chances: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Accuracy in bins of confidence (NaN where empty), and the expected calibration error."""
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (right, sure)]
    error = np.abs(sums[0] - sums[1]).sum() / len(labels)
    return np.where(counts, sums[0] / np.maximum(counts, 1), np.nan), float(error)


def entropy(chances: np.ndarray) -> np.ndarray:
    """In bits, of each row."""
    return -(chances * np.log2(np.maximum(chances, 1e-12))).sum(axis=1)


class Judged:
    """What a net says of held-back images, of turned ones, and of noise."""

    def __init__(self, net, images: np.ndarray, labels: np.ndarray, draws: int):
        self.chances = probabilities(net, images, draws)
        self.accuracy = float(np.mean(self.chances.argmax(axis=1) == labels))
        self.cost = float(-np.log(np.maximum(self.chances[np.arange(len(labels)), labels], 1e-12)).mean())
        self.bins, self.error = calibration(self.chances, labels)
        noise = np.random.default_rng(0).uniform(size=images.shape).astype(np.float32)
        self.doubt = float(entropy(probabilities(net, noise, draws)).mean())
        turned = [rotate(images, angle, axes=(2, 3), reshape=False, order=1) for angle in ANGLES]
        judged = [probabilities(net, part, draws) for part in turned]
        self.turned_doubt = [float(entropy(chances).mean()) for chances in judged]
        self.turned_wrong = [float(np.mean(chances.argmax(axis=1) != labels)) for chances in judged]

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.2%}, {self.cost:.3f} nats per label, "
            f"calibration error {self.error:.2%}, {self.doubt:.2f} bits of doubt about noise"
        )


def draw(judged: dict[str, Judged], images: np.ndarray, labels: np.ndarray, title: str) -> Figure:
    figure = Figure(figsize=(14, 5), dpi=120, layout="constrained")
    figure.suptitle(title)
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1, 1.1))
    reliability, turned = left.add_subplot(), middle.add_subplot()
    centres = (np.arange(BINS) + 0.5) / BINS
    reliability.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    for (name, of), colour in zip(judged.items(), (common.LINE, common.WRONG), strict=True):
        reliability.plot(centres, of.bins, "o-", color=colour, label=name)
        turned.plot(ANGLES, of.turned_doubt, color=colour, label=f"doubt, {name}")
        turned.plot(ANGLES, of.turned_wrong, "--", color=colour, label=f"share wrong, {name}")
    reliability.set(title="Reliability", xlabel="confidence", ylabel="accuracy")
    turned.set(title="Held-back digits that are turned", xlabel="degrees", ylabel="bits; share")
    for axes in (reliability, turned):
        axes.grid(alpha=0.3)
        axes.legend()
    chances = next(iter(judged.values())).chances
    doubtful = np.argsort(-entropy(chances))[:15]
    right.suptitle("The most doubtful: chances of two digits", fontsize=12)
    for axes, i in zip(right.subplots(3, 5).flat, doubtful, strict=False):
        first, second = np.argsort(-chances[i])[:2]
        axes.imshow(images[i, 0], cmap="gray_r")
        axes.set_axis_off()
        colour = common.RIGHT if first == labels[i] else common.WRONG
        text = f"{first}: {chances[i, first]:.0%}\n{second}: {chances[i, second]:.0%}"
        axes.set_title(text, fontsize=9, color=colour)
    return figure


def main() -> int:
    parser = common.options(__doc__.splitlines()[0], epochs=150, batch_size=64, out="bayes_by_backprop.png")
    parser.add_argument("--hidden", type=common.positive, default=32, help="units of the layer between")
    parser.add_argument("--prior", type=float, default=1.0, help="deviation of weights before any data")
    parser.add_argument("--draws", type=common.positive, default=50, help="of weights, for a prediction")
    args = parser.parse_args()
    common.show_device()
    mx.random.seed(args.seed)
    np.random.seed(args.seed)
    images, labels, test_images, test_labels = load(args.seed)
    sizes = [images[0].size, args.hidden, 10]
    nets = {"Bayesian": BayesianNet(sizes, args.prior), "plain": plain_net(sizes)}
    batches = common.Batches(images, labels, args.batch_size, args.epochs, args.seed)
    with tqdm(total=len(nets) * len(batches), unit=" steps") as bar:
        for net in nets.values():
            train(net, batches, rate=1e-2, bar=bar)
    judged = {name: Judged(net, test_images, test_labels, args.draws) for name, net in nets.items()}
    for name, of in judged.items():
        print(f"result: {name}: {of}")
    bayesian, plain = judged.values()
    title = (
        f"Bayes by backprop: accuracy {bayesian.accuracy:.1%} (plain net {plain.accuracy:.1%}), "
        f"{bayesian.cost:.3f} nats per label ({plain.cost:.3f}), "
        f"calibration error {bayesian.error:.1%} ({plain.error:.1%}), "
        f"{bayesian.doubt:.1f} bits of doubt about noise ({plain.doubt:.1f})"
    )
    common.save(draw(judged, test_images, test_labels, title), args.out)
    demand = f"an accuracy of {args.require_accuracy:.2%} is required"
    return common.verdict(bayesian.accuracy >= args.require_accuracy, demand)


if __name__ == "__main__":
    sys.exit(main())
