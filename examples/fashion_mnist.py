"""Train a convolutional net with batch normalisation on Fashion-MNIST, from its idx files."""

import gzip
import math
import sys
import zlib
from pathlib import Path

import common
import numpy as np

import clgrad as mx
from clgrad import autograd, nd

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


class DataError(Exception):
    """A file of the dataset is missing or not what it should be."""


def read_idx(path: Path) -> np.ndarray:
    """The bytes of an idx file: a header with the sizes of the axes, then the elements in order."""
    content = _content(path)
    zeros, kind, ndim = content[:2], content[2:3], int.from_bytes(content[3:4], "big")
    if zeros != b"\0\0" or kind != b"\x08":  # 8: unsigned bytes
        raise DataError(f"{path}: not an idx file of bytes (it starts with {content[:4].hex(' ')})")
    start = 4 + 4 * ndim
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    if len(content) != start + math.prod(shape):
        raise DataError(
            f"{path}: {len(content):,} bytes, but its header tells of {start + math.prod(shape):,} "
            f"(shape {shape}); was it cut off while it was downloaded?"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}") from error


def find(folder: Path, name: str) -> Path:
    """The file of a name, packed or not."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"{folder / name}.gz (or the same without .gz) is missing; Debian's package "
        "dataset-fashion-mnist puts it in /usr/share/datasets/fashion-mnist, and "
        "https://github.com/zalandoresearch/fashion-mnist has it too"
    )


def load(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 1, rows, columns), from 0 to 1, and labels: of ``train`` or ``t10k``."""
    images_path = find(folder, f"{part}-images-idx3-ubyte")
    labels_path = find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_path}: shape {images.shape}; images of 28 x 28 are expected")
    if labels.shape != images.shape[:1] or labels.max(initial=0) >= len(NAMES):
        raise DataError(
            f"{labels_path}: shape {labels.shape}, labels up to {labels.max(initial=0)}; a label "
            f"below {len(NAMES)} is expected for each of {len(images)} images"
        )
    return images[:, np.newaxis].astype(np.float32) / 255, labels


class BatchNorm:
    """Batch normalisation: a learned scale and shift, and moving averages for prediction."""

    def __init__(self, channels: int):
        self.parameters = [common.learned(nd.ones(channels)), common.learned(nd.zeros(channels))]
        self.moving = [nd.zeros(channels), nd.ones(channels)]

    def __call__(self, x: nd.NDArray) -> nd.NDArray:
        return nd.BatchNorm(x, *self.parameters, *self.moving, fix_gamma=False)


class ConvNet:
    """Two convolutions and a dense layer, each normalised, then a dense layer."""

    def __init__(self):
        self.conv1 = common.weight(20, 1, 5, 5)
        self.conv2 = common.weight(50, 20, 5, 5)
        self.dense = common.weight(128, 50 * 4 * 4)
        self.norms = [BatchNorm(20), BatchNorm(50), BatchNorm(128)]
        self.scores = [common.weight(10, 128), common.learned(nd.zeros(10))]
        self.parameters = [self.conv1, self.conv2, self.dense, *self.scores]
        for norm in self.norms:
            self.parameters += norm.parameters

    def __call__(self, images: nd.NDArray) -> nd.NDArray:
        norm1, norm2, norm3 = self.norms
        x = nd.Convolution(images, self.conv1, kernel=(5, 5), num_filter=20, no_bias=True)
        x = nd.Pooling(nd.relu(norm1(x)), pool_type="max", kernel=(2, 2), stride=(2, 2))
        x = nd.Convolution(x, self.conv2, kernel=(5, 5), num_filter=50, no_bias=True)
        x = nd.Pooling(nd.relu(norm2(x)), pool_type="max", kernel=(2, 2), stride=(2, 2))
        x = nd.FullyConnected(x, self.dense, num_hidden=128, no_bias=True)
        x = nd.relu(norm3(x))
        return nd.FullyConnected(x, *self.scores, num_hidden=10)


def main() -> int:
    parser = common.options(__doc__, epochs=5, batch_size=64, out="fashion_mnist.png")
    parser.add_argument("--data", type=Path, required=True, help="folder that has the idx files")
    args = parser.parse_args()
    try:
        images, labels = load(args.data, "train")
        test_images, test_labels = load(args.data, "t10k")
    except DataError as error:
        sys.exit(f"fashion_mnist.py: {error}")
    common.show_device()
    mx.random.seed(args.seed)
    net = ConvNet()
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
    return common.conclude(args, "Fashion-MNIST", progress, test_images, test_labels, predicted, NAMES)


if __name__ == "__main__":
    sys.exit(main())
