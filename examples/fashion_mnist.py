"""Train a convolutional net with batch normalisation on Fashion-MNIST.

    python examples/fashion_mnist.py

recognises 91% of the 10,000 images that are held back. A `DataLoader` copies the next images to the device
while it works on these; with `--workers 2`, processes of their own read them.
"""

import sys

import classifiers
import common
import fashion

import clgrad as mx
from clgrad import autograd, gluon
from clgrad.gluon import nn
from clgrad.gluon.data.vision import transforms


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


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "fashion_mnist")
    common.add_passes(parser, epochs=5, batch_size=64)
    fashion.add_data(parser)
    parser.add_argument("--workers", type=int, default=0, help="processes that read the images")
    args = common.begin(parser, arguments)
    train, test = (part.transform_first(transforms.ToTensor()) for part in fashion.load(args))
    batches = common.loader(args, train, num_workers=args.workers, prefetch=4)
    steps = args.epochs * len(batches)

    net = convolutional_net()
    net.initialize(mx.init.MSRAPrelu(factor_type="in", slope=0))
    net.hybridize(args.capture == "fuse")
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    falling = mx.lr_scheduler.PolyScheduler(steps, base_lr=0.2, pwr=1)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.2, "lr_scheduler": falling})

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
    return classifiers.conclude(args, "Fashion-MNIST", net, progress.curves["loss"], test, fashion.NAMES)


if __name__ == "__main__":
    sys.exit(main())
