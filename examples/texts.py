"""What the examples that read a text share: its letters, what frequencies foretell of it, and the figure.

Without a file of yours, the text is Python's own documentation, which comes with it.
"""

import argparse
import math
from pathlib import Path
from pydoc_data.topics import topics

import common
import numpy as np

from clgrad import nd


def add_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text", type=Path, help="a file in UTF-8, in the place of Python's documentation")
    parser.add_argument("--letters", type=common.positive, default=500_000, help="how much of it to take")


class Text:
    """A text as numbers, of which the last twentieth is held back."""

    def __init__(self, args: argparse.Namespace):
        if args.text is not None:
            try:
                text = args.text.read_text(encoding="utf-8")[: args.letters]
            except (OSError, UnicodeDecodeError) as error:
                common.fail(f"--text is {args.text}: {error}")
        else:
            text = "\n".join(topics[name] for name in sorted(topics))[: args.letters]
        found, counts = np.unique(list(text), return_counts=True)
        kept = "".join(found[counts >= 5])  # the rarest share the number 0
        place = {letter: i + 1 for i, letter in enumerate(kept)}
        numbers = np.array([place.get(letter, 0) for letter in text], np.int32)
        self.letters = "\N{REPLACEMENT CHARACTER}" + kept
        self.train, self.held_back = np.split(numbers, [len(numbers) - len(numbers) // 20])
        print(
            f"text: {len(numbers):,} letters of {len(self.letters)} kinds, "
            f"of which the last {len(self.held_back):,} are held back"
        )

    def frequencies(self) -> dict[str, float]:
        """Bits per held-back letter by how frequent letters are in the text, alone and behind another."""
        kinds, (before, behind) = len(self.letters), (self.train[:-1], self.train[1:])
        single = np.bincount(self.train, minlength=kinds) + 1.0
        pairs = np.bincount(before * kinds + behind, minlength=kinds**2).reshape(kinds, kinds)
        single /= single.sum()
        # Pairs that the text lacks get a share as of single letters
        pairs = (pairs + single) / (pairs.sum(axis=1, keepdims=True) + 1)
        before, behind = self.held_back[:-1], self.held_back[1:]
        return {
            "letters": float(-np.log2(single[behind]).mean()),
            "pairs": float(-np.log2(pairs[before, behind]).mean()),
        }

    def write(self, start: str, length: int, follow) -> str:
        """Go on from a start: `follow` gives the scores of what may follow some numbers."""
        numbers = [max(self.letters.find(letter), 0) for letter in start]
        rng = np.random.default_rng(0)
        for _ in range(length):
            chances = nd.softmax(follow(numbers)).asnumpy().astype(np.float64)
            numbers.append(int(rng.choice(len(self.letters), p=chances / chances.sum())))
        return "".join(self.letters[number] for number in numbers)


def conclude(args, text: Text, net, losses: np.ndarray, held_back: dict[float, float], unit: str) -> int:
    """Say what a held-back letter costs in bits, and draw how it came to that."""
    bits, frequencies = list(held_back.values()), text.frequencies()
    result = "{:.2f} bits per held-back letter ({:.2f} by frequencies of letters, {:.2f} of pairs)".format(
        bits[-1], *frequencies.values()
    )
    figure = common.figure(result, width=9)
    axes, end = figure.add_subplot(), max(held_back)
    common.draw_curve(axes, losses / math.log(2), end=end, label="while training")
    axes.plot([*held_back], bits, "o-", color=common.RED, label="held-back text")
    for name, level in frequencies.items():
        axes.axhline(level, color=common.GRAY, linestyle="--", linewidth=0.8)
        axes.text(end, level, f"frequencies of {name}", ha="right", va="bottom", color=common.GRAY)
    axes.set(xlabel=unit, ylabel="bits per letter", xlim=(0, end), ylim=(0, None))
    axes.legend(loc="lower left")
    curves = {"loss": losses, "held back": np.array(bits)}
    return common.conclude(args, result, bits[-1], figure, common.parameters(net), curves)
