"""Train an LSTM to foretell a text letter by letter: Python's own documentation, or a file of yours.

    python examples/char_lstm.py

comes to 1.5 bits for a letter that it has not seen; how frequent pairs of letters are tells it in 3.2.
Many places of the text are read side by side, piece by piece. The LSTM's states go on from one piece to
the next, gradients do not (truncated backpropagation through time).
"""

import math
import sys

import common
import numpy as np
import texts

import clgrad as mx
from clgrad import autograd, gluon, nd
from clgrad.gluon import nn, rnn


class Reader(gluon.HybridBlock):
    """Letters (steps, batch) to scores (steps, batch, letters) of those that may follow, and the states."""

    def __init__(self, letters: int, size: int, layers: int, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.embedding = nn.Embedding(letters, 64)
            self.lstm = rnn.LSTM(size, num_layers=layers, dropout=0.2 if layers > 1 else 0, input_size=64)
            self.scores = nn.Dense(letters, flatten=False, in_units=size)

    def hybrid_forward(self, F, text, states):
        output, states = self.lstm(self.embedding(text), states)
        return self.scores(output), states


def pieces(text: np.ndarray, batch_size: int, steps: int) -> list[np.ndarray]:
    """Pieces (steps + 1, batch): each column goes on reading where it was in the piece before."""
    length = (len(text) - 1) // batch_size
    columns = np.stack([text[i * length : (i + 1) * length + 1] for i in range(batch_size)], axis=1)
    return [columns[start : start + steps + 1] for start in range(0, length - steps + 1, steps)]


def bits_per_letter(net: Reader, parts: list[np.ndarray]) -> float:
    """What a letter of a text that the net has not seen costs, by its probabilities."""
    states, losses = net.lstm.begin_state(parts[0].shape[1]), []
    for part in parts:
        part = nd.array(part, dtype="int32")
        scores, states = net(part[:-1], states)
        losses.append(-nd.pick(nd.log_softmax(scores), part[1:]).mean())
    return float(np.mean([loss.asscalar() for loss in losses])) / math.log(2)


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "char_lstm")
    common.add_passes(parser, epochs=6, batch_size=32)
    texts.add_text(parser)
    parser.add_argument(
        "--steps", type=common.positive, default=64, help="letters that a gradient goes back"
    )
    parser.add_argument("--size", type=common.positive, default=256, help="of the LSTM's state")
    parser.add_argument("--layers", type=common.positive, default=1, help="of the LSTM")
    args = common.begin(parser, arguments)
    text = texts.Text(args)
    train = pieces(text.train, args.batch_size, args.steps)
    held_back = pieces(text.held_back, min(args.batch_size, 8), args.steps)
    if not train or not held_back:
        common.fail(f"a text of {args.letters:,} letters is too short for these batches")
    steps = args.epochs * len(train)

    net = Reader(len(text.letters), args.size, args.layers)
    net.initialize(mx.init.Xavier())
    net.hybridize(args.capture == "fuse")
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    falling = mx.lr_scheduler.CosineScheduler(steps, base_lr=4e-3, final_lr=2e-4)
    parameters = list(net.collect_params().values())
    trainer = gluon.Trainer(parameters, "adam", {"learning_rate": 4e-3, "lr_scheduler": falling})

    @common.capture(args)
    def step(piece, states):
        with autograd.record():
            scores, states = net(piece[:-1], states)
            loss = loss_of(scores.reshape((-3, 0)), piece[1:].reshape((-1,))).mean()
        loss.backward()
        gluon.utils.clip_global_norm([p.grad() for p in parameters], 1.0, check_isfinite=False)
        trainer.step(1)
        return loss, [state.detach() for state in states]

    bits = {}
    with common.Progress(steps, "letter", args.batch_size * args.steps) as progress:
        for epoch in range(args.epochs):
            states = net.lstm.begin_state(args.batch_size)
            for piece in train:
                loss, states = step(nd.array(piece, dtype="int32"), states)
                progress.update(loss=loss)
            bits[epoch + 1] = bits_per_letter(net, held_back)

    start, states = "The ", net.lstm.begin_state(1)

    def follow(numbers):
        """Scores behind the last number; the states hold those before it, once all of the start is read."""
        nonlocal states
        given = numbers if len(numbers) == len(start) else numbers[-1:]
        scores, states = net(nd.array(given, dtype="int32").expand_dims(1), states)
        return scores[-1, 0]

    print("sample:", text.write(start, 300, follow).replace("\n", "\n    "))
    return texts.conclude(args, text, net, progress.curves["loss"], bits, "epoch")


if __name__ == "__main__":
    sys.exit(main())
