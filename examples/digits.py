"""Train a small LeNet, built of Gluon's layers, on the handwritten digits that come with scikit-learn."""

import sys

import common
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import clgrad as mx
from clgrad import autograd, gluon
from clgrad.gluon import nn

LEARNING_RATE = 0.25


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


def load(seed: int) -> list[np.ndarray]:
    """Images and labels to train on, and those held back: images (n, 1, 8, 8) from 0 to 1."""
    digits = load_digits()
    images = digits.images[:, np.newaxis].astype(np.float32) / 16
    train, test, train_labels, test_labels = train_test_split(
        images, digits.target, test_size=0.2, random_state=seed, stratify=digits.target
    )
    return [train, train_labels, test, test_labels]


def main() -> int:
    args = common.options(__doc__, epochs=60, batch_size=64, out="digits.png").parse_args()
    common.show_device()
    mx.random.seed(args.seed)
    images, labels, test_images, test_labels = load(args.seed)
    net = lenet()
    net.initialize(mx.init.MSRAPrelu(factor_type="in", slope=0))
    net.hybridize()
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": LEARNING_RATE})
    batches = common.Batches(images, labels, args.batch_size, args.epochs, args.seed)
    with common.Progress(batches) as progress:
        for batch, batch_labels in batches:
            with autograd.record():
                loss = loss_of(net(batch), batch_labels)
            loss.backward()
            trainer.set_learning_rate(LEARNING_RATE * progress.left)
            trainer.step(args.batch_size)
            progress.update(loss.mean())
    predicted = common.predict(net, test_images)
    names = [str(digit) for digit in range(10)]
    return common.conclude(args, "Handwritten digits", progress, test_images, test_labels, predicted, names)


if __name__ == "__main__":
    sys.exit(main())
