"""Train a convolutional net with batch normalisation on Fashion-MNIST, from its idx files."""

import sys
from pathlib import Path

import common
import numpy as np

import clgrad as mx
from clgrad import autograd, gluon
from clgrad.gluon import nn
from clgrad.gluon.data.vision import FashionMNIST, transforms

NAMES = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Boot",
)
LEARNING_RATE = 0.2


def convolutional_net() -> nn.HybridSequential:
    """Two convolutions and a dense layer, each normalised, then a dense layer."""
    net = nn.HybridSequential(prefix="fashion_")
    with net.name_scope():
        for channels in (20, 50):
            net.add(
                nn.Conv2D(channels, kernel_size=5, use_bias=False),
                nn.BatchNorm(),
                nn.Activation("relu"),
                nn.MaxPool2D(),
            )
        net.add(nn.Dense(128, use_bias=False), nn.BatchNorm(), nn.Activation("relu"), nn.Dense(10))
    return net


def main() -> int:
    parser = common.options(__doc__, epochs=5, batch_size=64, out="fashion_mnist.png")
    parser.add_argument("--data", type=Path, required=True, help="folder that has the idx files")
    parser.add_argument("--workers", type=int, default=0, help="processes that read the images")
    args = parser.parse_args()
    try:
        train, test = (FashionMNIST(args.data, train=part) for part in (True, False))
    except mx.MXNetError as error:
        sys.exit(f"fashion_mnist.py: {error}")
    common.show_device()
    mx.random.seed(args.seed)
    np.random.seed(args.seed)  # of the order of the images
    loader = gluon.data.DataLoader(
        train.transform_first(transforms.ToTensor()),
        args.batch_size,
        shuffle=True,
        last_batch="rollover",
        num_workers=args.workers,
        prefetch=4,
    )
    net = convolutional_net()
    net.initialize(mx.init.MSRAPrelu(factor_type="in", slope=0))
    net.hybridize()
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": LEARNING_RATE})
    batches = common.Epochs(loader, args.batch_size, args.epochs)
    with common.Progress(batches) as progress:
        for images, labels in batches:
            with autograd.record():
                loss = loss_of(net(images), labels)
            loss.backward()
            trainer.set_learning_rate(LEARNING_RATE * progress.left)
            trainer.step(args.batch_size)
            progress.update(loss.mean())
    held_back = gluon.data.DataLoader(test.transform_first(transforms.ToTensor()), 500)
    images, labels, predicted = [], [], []
    for batch, batch_labels in held_back:
        images.append(batch.asnumpy())
        labels.append(batch_labels.asnumpy())
        predicted.append(net(batch).argmax(axis=1).asnumpy())
    found = map(np.concatenate, (images, labels, predicted))
    return common.conclude(args, "Fashion-MNIST", progress, *found, NAMES)


if __name__ == "__main__":
    sys.exit(main())
