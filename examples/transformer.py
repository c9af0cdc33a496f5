"""Train a small transformer to foretell a text letter by letter (Vaswani et al., 2017; GPT's layout)."""

import argparse
import math
import sys
import time
from pathlib import Path

import common
import numpy as np
from char_lstm import load
from matplotlib.figure import Figure
from tqdm import tqdm

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn

LARGEST_NORM = 1.0


class Attention(gluon.HybridBlock):
    """Each place looks at itself and those before it, in several ways at once."""

    def __init__(self, size: int, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        with self.name_scope():
            self.queries_keys_values = nn.Dense(3 * size, flatten=False, use_bias=False, in_units=size)
            self.joined = nn.Dense(size, flatten=False, in_units=size)

    def hybrid_forward(self, F, x):
        # (batch, places, 3 * heads * width) to three of (batch, heads, places, width)
        parts = F.reshape(self.queries_keys_values(x), shape=(0, 0, 3 * self.heads, -1))
        parts = F.split(F.transpose(parts, axes=(0, 2, 1, 3)), num_outputs=3, axis=1)
        seen = F.contrib.flash_attention(*parts, causal=True)
        return self.joined(F.reshape(F.transpose(seen, axes=(0, 2, 1, 3)), shape=(0, 0, -1)))


class Layer(gluon.HybridBlock):
    """Attention, then two dense layers; each adds to what it reads, normalised (Xiong et al., 2020)."""

    def __init__(self, size: int, heads: int, dropout: float, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.attention, self.dense = nn.HybridSequential(), nn.HybridSequential()
            self.attention.add(nn.LayerNorm(in_channels=size), Attention(size, heads), nn.Dropout(dropout))
            self.dense.add(
                nn.LayerNorm(in_channels=size),
                nn.Dense(4 * size, flatten=False, in_units=size),
                nn.GELU(),
                nn.Dense(size, flatten=False, in_units=4 * size),
                nn.Dropout(dropout),
            )

    def hybrid_forward(self, F, x):
        x = x + self.attention(x)
        return x + self.dense(x)


class Transformer(gluon.HybridBlock):
    """Letters (batch, places) to scores (batch, places, letters) of those that may follow each."""

    def __init__(self, letters: int, context: int, size: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.context = context
        with self.name_scope():
            self.embedding = nn.Embedding(letters, size)
            self.places = self.params.get("places", shape=(1, context, size), init=mx.init.Normal(0.02))
            self.layers = nn.HybridSequential()
            for _ in range(layers):
                self.layers.add(Layer(size, heads, dropout))
            self.layers.add(nn.LayerNorm(in_channels=size))
            self.scores = nn.Dense(letters, flatten=False, in_units=size)

    def hybrid_forward(self, F, text, places):
        return self.scores(self.layers(self.embedding(text) + places))


class Windows:
    """Places of a text, drawn at random, as (batch, places) of letters and of those that follow."""

    def __init__(self, text: np.ndarray, context: int, seed: int):
        self.text, self.context = text, context
        self.rng = np.random.default_rng(seed)

    def at(self, starts: np.ndarray) -> tuple[nd.NDArray, nd.NDArray]:
        pieces = self.text[starts[:, None] + np.arange(self.context + 1)]
        return nd.array(pieces[:, :-1], dtype="int32"), nd.array(pieces[:, 1:], dtype="int32")

    def draw(self, count: int) -> tuple[nd.NDArray, nd.NDArray]:
        return self.at(self.rng.integers(len(self.text) - self.context, size=count))


def frequencies(text: np.ndarray, held_back: np.ndarray, letters: int) -> tuple[float, float]:
    """Bits per held-back letter by how frequent letters are in the text, alone and behind another one."""
    single = np.bincount(text, minlength=letters) + 1.0
    pairs = np.bincount(text[:-1] * letters + text[1:], minlength=letters**2).reshape(letters, letters)
    # Pairs that the text lacks get a share as of single letters
    single /= single.sum()
    pairs = (pairs + single) / (pairs.sum(axis=1, keepdims=True) + 1)
    return (
        float(-np.log2(single[held_back]).mean()),
        float(-np.log2(pairs[held_back[:-1], held_back[1:]]).mean()),
    )


def bits_per_letter(net: Transformer, text: np.ndarray) -> float:
    """What a letter costs where the net sees at least half of a window before it."""
    half, losses = net.context // 2, []
    windows = Windows(text, net.context, seed=0)
    starts = np.arange(0, len(text) - net.context, net.context - half)
    for i in range(0, len(starts), 32):
        given, following = windows.at(starts[i : i + 32])
        costs = -nd.pick(nd.log_softmax(net(given)), following)[:, half:]
        losses.append(costs.asnumpy().ravel())
    return float(np.concatenate(losses).mean()) / math.log(2)


def write(net: Transformer, letters: str, start: str, length: int, rng: np.random.Generator) -> str:
    """What the net goes on with, drawn letter by letter by its probabilities."""
    text = [max(letters.find(letter), 0) for letter in start]
    for _ in range(length):
        shown = text[-net.context :]
        last = len(shown) - 1  # what is behind it is not seen from there
        window = np.zeros((1, net.context), np.int32)
        window[0, : last + 1] = shown
        chances = nd.softmax(net(nd.array(window, dtype="int32"))[0, last]).asnumpy().astype(np.float64)
        text.append(int(rng.choice(len(letters), p=chances / chances.sum())))
    return "".join(letters[i] for i in text)


def options() -> argparse.Namespace:
    parser = common.parser(__doc__, out="transformer.png")
    count = common.positive
    parser.add_argument("--text", type=Path, help="a file in UTF-8, in the place of Python's documentation")
    parser.add_argument("--letters", type=count, default=500_000, help="how much of the text to take")
    parser.add_argument("--steps", type=count, default=800, help="of training")
    parser.add_argument("--batch-size", type=count, default=16, help="windows a step")
    parser.add_argument("--context", type=count, default=128, help="letters of a window")
    parser.add_argument("--size", type=count, default=128, help="numbers that stand for a letter")
    parser.add_argument("--heads", type=count, default=4, help="of attention")
    parser.add_argument("--layers", type=count, default=3, help="of attention and dense layers")
    parser.add_argument("--dropout", type=float, default=0.0, help="share of results that are left out")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="the largest, of Adam")
    parser.add_argument(
        "--require-bits",
        type=float,
        default=math.inf,
        metavar="BITS",
        help="exit with status 1 if a held-back letter costs more",
    )
    args = parser.parse_args()
    if args.size % args.heads:
        parser.error(f"--size is {args.size}, which is no multiple of --heads, {args.heads}")
    return args


class Training:
    """The net's losses, and bits per held-back letter after so many steps."""

    def __init__(self, net: Transformer, args):
        self.net, self.args = net, args
        self.parameters = list(net.collect_params().values())
        schedule = mx.lr_scheduler.CosineScheduler(
            args.steps,
            base_lr=args.learning_rate,
            final_lr=args.learning_rate / 20,
            warmup_steps=min(50, args.steps // 4),
        )
        adam = {"learning_rate": args.learning_rate, "lr_scheduler": schedule, "beta2": 0.98}
        self.trainer = gluon.Trainer(self.parameters, "adam", adam)
        self.loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
        self.step = mx.capture(self._step)
        self.losses: list[float] = []
        self.held_back: dict[int, float] = {}

    def _step(self, given, following):
        with autograd.record():
            loss = self.loss_of(self.net(given), following).mean()
        loss.backward()
        gluon.utils.clip_global_norm(
            [p.grad() for p in self.parameters], LARGEST_NORM, check_isfinite=False
        )
        self.trainer.step(1)
        return loss

    def run(self, text: np.ndarray, held_back: np.ndarray) -> None:
        args, losses = self.args, []
        windows, letters = Windows(text, args.context, args.seed), args.batch_size * args.context
        seconds = 0.0
        with tqdm(total=args.steps * letters, unit=" letters", unit_scale=True) as bar:
            for number in range(1, args.steps + 1):
                begun = time.perf_counter()
                losses.append(self.step(*windows.draw(args.batch_size)))
                if number % 20 == 0:  # reading a value waits for the device
                    bar.set_postfix(loss=f"{float(losses[-1]):.3f}")
                seconds += time.perf_counter() - begun
                bar.update(letters)
                if number == args.steps or number % -(-args.steps // 4) == 0:
                    self.held_back[number] = bits_per_letter(self.net, held_back)
        print(f"training: {args.steps * letters / seconds:,.0f} letters per second")
        self.losses = [float(loss) for loss in losses]


def draw(training: Training, baselines: tuple[float, float], title: str) -> Figure:
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    bits = np.array(training.losses) / math.log(2)
    axes.plot(1 + np.arange(len(bits)), bits, color=common.LINE, alpha=0.4, label="each batch")
    axes.plot(
        *zip(*training.held_back.items(), strict=True),
        "o-",
        color=common.WRONG,
        label="held-back text, behind half a window",
    )
    for name, level in zip(("letters", "pairs"), baselines, strict=True):
        axes.axhline(level, color="gray", linestyle="--", linewidth=0.8)
        axes.text(len(bits), level, f"frequencies of {name}", ha="right", va="bottom", color="gray")
    axes.set(title=title, xlabel="step", ylabel="bits per letter", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    return figure


def main() -> int:
    args = options()
    text, letters = load(args.text, args.letters)
    part = len(text) // 20
    if part <= args.context:
        sys.exit(
            f"transformer.py: a text of {len(text):,} letters is too short for windows of {args.context}"
        )
    common.show_device()
    mx.random.seed(args.seed)
    np.random.seed(args.seed)
    net = Transformer(len(letters), args.context, args.size, args.heads, args.layers, args.dropout)
    net.initialize(mx.init.Normal(0.02))
    weights = sum(math.prod(p.shape) for p in net.collect_params().values())
    print(
        f"text: {len(text):,} letters of {len(letters)} kinds, of which the last {part:,} are held back; "
        f"{weights:,} parameters"
    )
    training = Training(net, args)
    training.run(text[:-part], text[-part:])
    bits = training.held_back[args.steps]
    baselines = frequencies(text[:-part], text[-part:], len(letters))
    result = "{:.2f} bits per held-back letter ({:.2f} by frequencies of letters, {:.2f} of pairs)".format(
        bits, *baselines
    )
    print(f"result: {result}")
    sample = write(net, letters, "The ", min(300, 2 * args.context), np.random.default_rng(args.seed))
    print("sample:", sample.replace("\n", "\n    "))
    common.save(draw(training, baselines, result), args.out)
    return common.verdict(bits <= args.require_bits, f"at most {args.require_bits:.2f} bits are required")


if __name__ == "__main__":
    sys.exit(main())
