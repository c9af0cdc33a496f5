"""What the examples that classify images share: predictions, and a figure of them."""

import argparse

import common
import numpy as np

from clgrad import gluon, nd


def conclude(args: argparse.Namespace, title: str, net, losses: np.ndarray, held_back, names) -> int:
    """Say how many of the held-back images are recognised, and show some of them."""
    images, labels, predicted = predict(net, held_back)
    right = predicted == labels
    accuracy = float(right.mean())
    figure = common.figure(f"{title}: {accuracy:.1%} of {len(labels):,} held-back images recognised")
    left, other = figure.subfigures(1, 2)
    axes = left.add_subplot()
    common.draw_curve(axes, losses, end=args.epochs)
    axes.set(title="Training", xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log")
    axes.set_xlim(0, args.epochs)
    rows, columns = 4, 6
    wrong = np.flatnonzero(~right)[:columns]
    shown = [*wrong, *np.flatnonzero(right)[: rows * columns - len(wrong)]]
    other.suptitle("Predictions: right in green, wrong in red", fontsize=12)
    titles = [
        (names[predicted[i]], common.GREEN)
        if right[i]
        else (f"{names[predicted[i]]}\n(is {names[labels[i]]})", common.RED)
        for i in shown
    ]
    common.draw_images(other, images[shown], rows, columns, titles)
    result = f"accuracy: {accuracy:.2%} of {len(labels)} held-back images"
    trained, curves = common.parameters(net), {"loss": losses}
    return common.conclude(args, result, accuracy, figure, trained, curves, higher_is_better=True)


def predict(net, dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, height, width), their classes, and those that the net takes them for."""
    found = [
        (images[:, 0].asnumpy(), labels.asnumpy(), nd.argmax(net(images), axis=1).asnumpy())
        for images, labels in gluon.data.DataLoader(dataset, 500)
    ]
    images, labels, predicted = map(np.concatenate, zip(*found, strict=True))
    return images, labels.astype(int), predicted.astype(int)
