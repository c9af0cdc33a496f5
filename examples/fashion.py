"""What the examples on Fashion-MNIST share: the images, and how far imagined ones are from them.

The images (Xiao et al., 2017) are 70,000 pictures of clothes, of 28 x 28 pixels. On Debian and Ubuntu they
come with `apt-get install dataset-fashion-mnist`.
"""

import argparse
from pathlib import Path

import common
import numpy as np

import clgrad as mx
from clgrad.gluon.data.vision import FashionMNIST

FOLDER = Path("/usr/share/datasets/fashion-mnist")
NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder that has the idx files")


def load(args: argparse.Namespace) -> tuple[FashionMNIST, FashionMNIST]:
    """The images to train on, and those held back."""
    try:
        return FashionMNIST(args.data, train=True), FashionMNIST(args.data, train=False)
    except mx.MXNetError as error:
        common.fail(f"{error} (Debian's package dataset-fashion-mnist has the files)")


def pixels(dataset: FashionMNIST) -> np.ndarray:
    """All images (n, 28, 28), from 0 to 1."""
    return dataset[:][0].asnumpy()[..., 0].astype(np.float32) / 255


def features(images: np.ndarray) -> np.ndarray:
    """Means over 4 x 4 pixels (n, 49)."""
    return images.reshape(len(images), 7, 4, 7, 4).mean(axis=(2, 4)).reshape(len(images), 49)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Fréchet distance between two sets of images, their features taken as normally distributed."""
    means = [features(images).mean(axis=0) for images in (one, other)]
    spreads = [np.cov(features(images), rowvar=False) for images in (one, other)]
    roots = np.sqrt(np.maximum(np.linalg.eigvals(spreads[0] @ spreads[1]).real, 0))
    gap = ((means[0] - means[1]) ** 2).sum() + np.trace(spreads[0] + spreads[1]) - 2 * roots.sum()
    return float(gap)


def judge(imagine, held_back: np.ndarray) -> tuple[np.ndarray, float, str]:
    """Imagined images, as many as were held back, their distance from these, and a sentence about it."""
    count = len(held_back)
    parts = [imagine(min(200, count)) for _ in range(-(-count // 200))]
    images = np.concatenate(parts)[:count]
    found = distance(images, held_back)
    noise = distance(np.random.default_rng(0).uniform(size=images.shape), held_back)
    halves = distance(held_back[::2], held_back[1::2])
    text = (
        f"Fréchet distance {found:.2f} to held-back images (noise {noise:.1f}, their halves {halves:.2f})"
    )
    return images, found, text
