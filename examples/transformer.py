"""Train a small transformer to foretell a text letter by letter (Vaswani et al., 2017; GPT's layout).

    python examples/transformer.py

comes to 1.75 bits for a letter that it has not seen. Attention is one op, `contrib.flash_attention`, which
never stores the scores of all places against all others.
"""

import math
import sys

import common
import numpy as np
import texts

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn


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

    def __init__(self, text: np.ndarray, context: int):
        self.text, self.context = text, context

    def at(self, starts: np.ndarray) -> tuple[nd.NDArray, nd.NDArray]:
        pieces = self.text[starts[:, None] + np.arange(self.context + 1)]
        return nd.array(pieces[:, :-1], dtype="int32"), nd.array(pieces[:, 1:], dtype="int32")

    def draw(self, count: int) -> tuple[nd.NDArray, nd.NDArray]:
        return self.at(np.random.randint(len(self.text) - self.context, size=count))


def bits_per_letter(net: Transformer, text: np.ndarray) -> float:
    """What a letter costs where the net sees at least half of a window before it."""
    half, losses = net.context // 2, []
    windows = Windows(text, net.context)
    starts = np.arange(0, len(text) - net.context, net.context - half)
    for i in range(0, len(starts), 32):
        given, following = windows.at(starts[i : i + 32])
        costs = -nd.pick(nd.log_softmax(net(given)), following)[:, half:]
        losses.append(costs.asnumpy().ravel())
    return float(np.concatenate(losses).mean()) / math.log(2)


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "transformer")
    texts.add_text(parser)
    count = common.positive
    parser.add_argument("--steps", type=count, default=1200, help="of training")
    parser.add_argument("--batch-size", type=count, default=16, help="windows a step")
    parser.add_argument("--context", type=count, default=128, help="letters of a window")
    parser.add_argument("--size", type=count, default=128, help="numbers that stand for a letter")
    parser.add_argument("--heads", type=count, default=4, help="of attention")
    parser.add_argument("--layers", type=count, default=3, help="of attention and dense layers")
    parser.add_argument("--dropout", type=float, default=0.0, help="share of results that are left out")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="the largest, of Adam")
    args = common.begin(parser, arguments)
    if args.size % args.heads:
        parser.error(f"--size is {args.size}, which is no multiple of --heads, {args.heads}")
    text = texts.Text(args)
    if len(text.held_back) <= args.context:
        common.fail(
            f"the text is too short: {len(text.held_back)} letters are held back, "
            f"and a window has {args.context}"
        )

    net = Transformer(len(text.letters), args.context, args.size, args.heads, args.layers, args.dropout)
    net.initialize(mx.init.Normal(0.02))
    net.hybridize(args.capture == "fuse")
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    schedule = mx.lr_scheduler.CosineScheduler(
        args.steps,
        base_lr=args.learning_rate,
        final_lr=args.learning_rate / 20,
        warmup_steps=min(50, args.steps // 4),
    )
    parameters = list(net.collect_params().values())
    adam = {"learning_rate": args.learning_rate, "lr_scheduler": schedule, "beta2": 0.98}
    trainer = gluon.Trainer(parameters, "adam", adam)

    @common.capture(args)
    def step(given, following):
        with autograd.record():
            loss = loss_of(net(given), following).mean()
        loss.backward()
        gluon.utils.clip_global_norm([p.grad() for p in parameters], 1.0, check_isfinite=False)
        trainer.step(1)
        return loss

    windows, bits = Windows(text.train, args.context), {}
    with common.Progress(args.steps, "letter", args.batch_size * args.context) as progress:
        for number in range(1, args.steps + 1):
            progress.update(loss=step(*windows.draw(args.batch_size)))
            if number == args.steps or number % -(-args.steps // 5) == 0:
                bits[number] = bits_per_letter(net, text.held_back)

    def follow(numbers):
        """Scores behind the last of these; what fills the window up lies behind it, and is not seen."""
        shown = numbers[-args.context :]
        window = np.zeros((1, args.context), np.int32)
        window[0, : len(shown)] = shown
        return net(nd.array(window, dtype="int32"))[0, len(shown) - 1]

    print("sample:", text.write("The ", 300, follow).replace("\n", "\n    "))
    return texts.conclude(args, text, net, progress.curves["loss"], bits, "step")


if __name__ == "__main__":
    sys.exit(main())
