"""Train an LSTM to foretell a text letter by letter: Python's own documentation, or a file of yours."""

import argparse
import math
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics

import common
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn, rnn

LARGEST_NORM = 1.0


class Reader(gluon.Block):
    """Embedded letters, an LSTM over them, and a score for each letter that may follow."""

    def __init__(self, letters: int, size: int, layers: int, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.embedding = nn.Embedding(letters, 64)
            self.lstm = rnn.LSTM(size, num_layers=layers, dropout=0.2 if layers > 1 else 0, input_size=64)
            self.scores = nn.Dense(letters, flatten=False, in_units=size)

    def forward(self, text, states):
        """Scores (steps, batch, letters), and the states behind the last step."""
        output, states = self.lstm(self.embedding(text), states)
        return self.scores(output), states


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--text", type=Path, help="a file in UTF-8, in the place of Python's documentation")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the text")
    parser.add_argument("--letters", type=int, default=500_000, help="how much of the text to take")
    parser.add_argument("--batch-size", type=int, default=32, help="places that are read at once")
    parser.add_argument("--steps", type=int, default=64, help="letters that a gradient goes back")
    parser.add_argument("--size", type=int, default=256, help="size of the LSTM's state")
    parser.add_argument("--layers", type=int, default=1, help="layers of the LSTM")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "output" / "char_lstm.png",
        help="figure to write",
    )
    parser.add_argument(
        "--require-bits",
        type=float,
        default=math.inf,
        metavar="BITS",
        help="exit with status 1 if a held-back letter costs more",
    )
    return parser.parse_args()


def load(path: Path | None, letters: int) -> tuple[np.ndarray, str]:
    """The text as numbers, and the letters that these stand for; the rarest share one number."""
    if path is not None:
        text = path.read_text(encoding="utf-8")[:letters]
    else:
        text = "\n".join(topics[name] for name in sorted(topics))[:letters]
    found, counts = np.unique(list(text), return_counts=True)
    kept = sorted(found[counts >= 5])
    place = {letter: i + 1 for i, letter in enumerate(kept)}
    return np.array(
        [place.get(letter, 0) for letter in text], np.int32
    ), "\N{REPLACEMENT CHARACTER}" + "".join(kept)


def batches(text: np.ndarray, batch_size: int, steps: int):
    """Pieces (steps + 1, batch): each column goes on reading where it was in the piece before."""
    length = (len(text) - 1) // batch_size
    columns = np.stack([text[i * length : (i + 1) * length + 1] for i in range(batch_size)], axis=1)
    for start in range(0, length - steps + 1, steps):
        yield nd.array(columns[start : start + steps + 1], dtype="int32")


def bits_per_letter(net: Reader, text: np.ndarray, batch_size: int, steps: int) -> float:
    """What a letter of a text that the net has not seen costs, by its probabilities."""
    states, losses = net.lstm.begin_state(batch_size), []
    for piece in batches(text, batch_size, steps):
        scores, states = net(piece[:-1], states)
        losses.append(-nd.pick(nd.log_softmax(scores), piece[1:]).mean())
    return float(np.mean([loss.asscalar() for loss in losses])) / math.log(2)


def write(net: Reader, letters: str, start: str, length: int, rng: np.random.Generator) -> str:
    """What the net goes on with, drawn letter by letter by its probabilities."""
    states, text = net.lstm.begin_state(1), start
    given = [max(letters.find(letter), 0) for letter in start]
    for _ in range(length):
        scores, states = net(nd.array(np.int32(given)[:, None], dtype="int32"), states)
        chances = nd.softmax(scores[-1, 0]).asnumpy().astype(np.float64)
        given = [int(rng.choice(len(letters), p=chances / chances.sum()))]
        text += letters[given[0]]
    return text


def draw(path: Path, losses: list[float], held_back: list[float], title: str) -> None:
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    times = (1 + np.arange(len(losses))) * len(held_back) / len(losses)
    axes.plot(times, np.array(losses) / math.log(2), color=common.LINE, alpha=0.4, label="each batch")
    axes.plot(1 + np.arange(len(held_back)), held_back, "o-", color=common.WRONG, label="held-back text")
    axes.set(title=title, xlabel="epoch", ylabel="bits per letter")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def train(net: Reader, text: np.ndarray, held_back: np.ndarray, args) -> tuple[list[float], list[float]]:
    """Losses of all steps, and bits per held-back letter after each epoch."""
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 3e-3})
    parameters = net.collect_params().values()
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    steps = args.epochs * ((len(text) - 1) // args.batch_size // args.steps)
    losses: list = []
    bits: list[float] = []
    begun = time.perf_counter()
    with tqdm(total=steps * args.batch_size * args.steps, unit=" letters", unit_scale=True) as bar:
        for epoch in range(args.epochs):
            trainer.set_learning_rate(3e-3 * 0.5**epoch)
            states = net.lstm.begin_state(args.batch_size)
            for piece in batches(text, args.batch_size, args.steps):
                states = [state.detach() for state in states]  # gradients go back no further
                with autograd.record():
                    scores, states = net(piece[:-1], states)
                    loss = loss_of(scores.reshape((-3, 0)), piece[1:].reshape((-1,))).mean()
                loss.backward()
                gluon.utils.clip_global_norm(
                    [p.grad() for p in parameters], LARGEST_NORM, check_isfinite=False
                )
                trainer.step(1)
                losses.append(loss)
                if len(losses) % 20 == 0:  # reading a value waits for the device
                    bar.set_postfix(loss=f"{float(loss):.3f}")
                bar.update(args.batch_size * args.steps)
            bits.append(bits_per_letter(net, held_back, min(args.batch_size, 8), args.steps))
    seconds = time.perf_counter() - begun
    print(f"training: {steps * args.batch_size * args.steps / seconds:,.0f} letters per second")
    return [float(loss) for loss in losses], bits


def main() -> int:
    args = options()
    text, letters = load(args.text, args.letters)
    part = len(text) // 20
    if part < 8 * args.steps + 9 or len(text) - part <= args.batch_size * args.steps:
        sys.exit(f"char_lstm.py: a text of {len(text):,} letters is too short for these batches")
    common.show_device()
    mx.random.seed(args.seed)
    np.random.seed(args.seed)
    net = Reader(len(letters), args.size, args.layers)
    net.initialize(mx.init.Xavier())
    print(f"text: {len(text):,} letters of {len(letters)} kinds, of which the last {part:,} are held back")
    losses, bits = train(net, text[:-part], text[-part:], args)
    counts = np.bincount(text, minlength=len(letters))
    shares = counts[counts > 0] / len(text)
    alone = float(-(shares * np.log2(shares)).sum())
    result = f"{bits[-1]:.2f} bits per held-back letter ({alone:.2f} by frequencies alone)"
    print(f"result: {result}")
    print(
        "sample:",
        write(net, letters, "The ", 300, np.random.default_rng(args.seed)).replace("\n", "\n    "),
    )
    draw(args.out, losses, bits, result)
    print(f"figure: {args.out}")
    if bits[-1] > args.require_bits:
        print(f"failed: at most {args.require_bits:.2f} bits are required", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
