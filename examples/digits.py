"""Train a small LeNet, built of Gluon's layers, on the handwritten digits that come with scikit-learn.

    python examples/digits.py

takes some ten seconds, and recognises 98% of the digits that were held back.
"""

import sys

import classifiers
import common
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import clgrad as mx
from clgrad import autograd, gluon
from clgrad.gluon import nn


def lenet() -> nn.HybridSequential:
    """Two convolutions, each with max pooling, then two dense layers (LeCun et al., 1998)."""
    net = nn.HybridSequential(prefix="lenet_")
    with net.name_scope():
        net.add(
            nn.Conv2D(16, kernel_size=3, padding=1, activation="relu"),
            nn.MaxPool2D(),
            nn.Conv2D(32, kernel_size=3, padding=1, activation="relu"),
            nn.MaxPool2D(),
            nn.Dense(128, activation="relu"),
            nn.Dropout(0.5),
            nn.Dense(10),
        )
    return net


def load(seed: int, held_back: float = 0.2) -> list[gluon.data.ArrayDataset]:
    """Images (1, 8, 8) from 0 to 1 with their labels: those to train on, and those held back."""
    digits = load_digits()
    images = digits.images[:, np.newaxis].astype(np.float32) / 16
    train, test, train_labels, test_labels = train_test_split(
        images,
        digits.target.astype(np.float32),
        test_size=held_back,
        random_state=seed,
        stratify=digits.target,
    )
    return [gluon.data.ArrayDataset(train, train_labels), gluon.data.ArrayDataset(test, test_labels)]


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "digits")
    common.add_passes(parser, epochs=60, batch_size=64)
    args = common.begin(parser, arguments)
    train, test = load(args.seed)
    batches = common.loader(args, train)
    steps = args.epochs * len(batches)

    net = lenet()
    net.initialize(mx.init.MSRAPrelu(factor_type="in", slope=0))
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    falling = mx.lr_scheduler.PolyScheduler(steps, base_lr=0.25, pwr=1)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.25, "lr_scheduler": falling})

    @common.capture(args)
    def step(images, labels):
        with autograd.record():
            loss = loss_of(net(images), labels)
        loss.backward()
        trainer.step(args.batch_size)
        return loss.mean()

    with common.Progress(steps, "image", args.batch_size) as progress:
        for _ in range(args.epochs):
            for images, labels in batches:
                progress.update(loss=step(images, labels))
    names = [str(digit) for digit in range(10)]
    return classifiers.conclude(args, "Handwritten digits", net, progress.curves["loss"], test, names)


if __name__ == "__main__":
    sys.exit(main())
