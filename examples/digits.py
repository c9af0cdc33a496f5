"""Train a small LeNet on the handwritten digits that come with scikit-learn."""

import sys

import common
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import clgrad as mx
from clgrad import autograd, nd

LEARNING_RATE = 0.25


def layer(outputs: int, *inputs: int) -> tuple[nd.NDArray, nd.NDArray]:
    """Weight and bias."""
    return common.weight(outputs, *inputs), common.learned(nd.zeros(outputs))


class LeNet:
    """Two convolutions, each with max pooling, then two dense layers (LeCun et al., 1998)."""

    def __init__(self):
        self.conv1 = layer(16, 1, 3, 3)
        self.conv2 = layer(32, 16, 3, 3)
        self.dense1 = layer(128, 32 * 2 * 2)
        self.dense2 = layer(10, 128)
        self.parameters = [*self.conv1, *self.conv2, *self.dense1, *self.dense2]

    def __call__(self, images: nd.NDArray) -> nd.NDArray:
        x = nd.Convolution(images, *self.conv1, kernel=(3, 3), pad=(1, 1), num_filter=16)
        x = nd.Pooling(nd.relu(x), pool_type="max", kernel=(2, 2), stride=(2, 2))
        x = nd.Convolution(x, *self.conv2, kernel=(3, 3), pad=(1, 1), num_filter=32)
        x = nd.Pooling(nd.relu(x), pool_type="max", kernel=(2, 2), stride=(2, 2))
        x = nd.relu(nd.FullyConnected(x, *self.dense1, num_hidden=128))
        return nd.FullyConnected(nd.Dropout(x, p=0.5), *self.dense2, num_hidden=10)


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
    net = LeNet()
    batches = common.Batches(images, labels, args.batch_size, args.epochs, args.seed)
    with common.Progress(batches) as progress:
        for batch, batch_labels in batches:
            with autograd.record():
                loss = nd.softmax_cross_entropy(net(batch), batch_labels) / args.batch_size
            loss.backward()
            rate = LEARNING_RATE * progress.left
            for parameter in net.parameters:
                nd.sgd_update(parameter, parameter.grad, lr=rate, out=parameter)
            progress.update(loss)
    predicted = common.predict(net, test_images)
    names = [str(digit) for digit in range(10)]
    return common.conclude(args, "Handwritten digits", progress, test_images, test_labels, predicted, names)


if __name__ == "__main__":
    sys.exit(main())
