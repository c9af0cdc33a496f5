"""Datasets of pictures, from local files: clgrad opens no connections."""

import gzip
import math
import os
import tarfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clgrad import config, image, nd
from clgrad.errors import MXNetError
from clgrad.gluon.data import workers
from clgrad.gluon.data.dataset import Dataset, takes_numpy


class _Labelled(Dataset):
    """Pictures (height, width, channels) with labels, and perhaps a function that makes samples of them."""

    def __init__(self, transform: Callable | None):
        self._transform = transform

    def _pair(self, idx) -> tuple[np.ndarray, Any]:
        """A picture, on the host, and its label."""
        raise NotImplementedError

    def __getitem__(self, idx):
        picture, label = self._pair(idx)
        on_host = workers.is_worker()
        return self._sample(picture if on_host else nd.array(picture, dtype=picture.dtype), label)

    def _host_item(self, idx):
        if self._transform is None or takes_numpy(self._transform):
            return self._sample(*self._pair(idx))
        return self[idx]

    def _sample(self, picture, label):
        return (picture, label) if self._transform is None else self._transform(picture, label)


class _Pictures(_Labelled):
    """Such pictures that are all in memory, from the files of a folder.

    Parameters
    ----------
    root : str or path
        The folder of the files.
    train : bool
        The part for training, or the one for tests.
    transform : callable, optional
        Called with picture and label of each sample; gives the sample.
    """

    _folder = ""
    _classes = 0
    _source = ""

    def __init__(self, root: Any = None, train: bool = True, transform: Callable | None = None):
        self._root = Path(root).expanduser() if root is not None else config.datasets() / self._folder
        self._train = train
        super().__init__(transform)
        self._data, label = self._read()
        self._label = label.astype(np.int32)
        if len(self._data) != len(label) or label.max(initial=0) >= self._classes:
            given = f"{len(label)} labels up to {label.max(initial=0)} for {len(self._data)} pictures"
            raise MXNetError(
                f"{type(self).__name__}: {self._root}: {given}; expected: a label below {self._classes} "
                "for each"
            )

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._label)

    def _pair(self, idx) -> tuple[np.ndarray, Any]:
        return self._data[idx], self._label[idx]

    def _missing(self, names: str) -> MXNetError:
        return MXNetError(
            f"{type(self).__name__}: {names} is missing in {self._root}; {self._source}, and pass the "
            "folder as root"
        )


# MNIST's format

#: Bytes that are read at once.
_PART = 1 << 20


def read_idx(path: Path) -> np.ndarray:
    """The bytes of an idx file: a header with the sizes of the axes, then the elements in order.

    Raises
    ------
    MXNetError
        The file is of another format, or cut short.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _elements(file, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MXNetError(f"{path}: cannot be unpacked: {error}") from error


def _elements(file: Any, path: Path) -> np.ndarray:
    """What follows the header, of which no more is read than the header tells of, and a byte."""
    start = file.read(4)
    if start[:2] != b"\0\0" or start[2:3] != b"\x08":  # 8: unsigned bytes
        raise MXNetError(f"{path}: not an idx file of bytes (it starts with {start.hex(' ')})")
    header = file.read(4 * int.from_bytes(start[3:], "big"))
    if len(header) != 4 * int.from_bytes(start[3:], "big") or not header:
        raise MXNetError(f"{path}: the header is cut off after {len(start + header)} bytes")
    shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(0, len(header), 4))
    size, content = math.prod(shape), bytearray()
    while len(content) <= size and (part := file.read(min(_PART, size + 1 - len(content)))):
        content += part
    if not size or len(content) != size:
        given = f"{len(content):,}" if len(content) <= size else "more"
        raise MXNetError(
            f"{path}: {given} bytes behind the header, which tells of {size:,} (shape {shape}); was it cut "
            "off while it was downloaded?"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


class MNIST(_Pictures):
    """Handwritten digits: pictures (28, 28, 1) of uint8, and labels from 0 to 9.

    http://yann.lecun.com/exdb/mnist: train-images-idx3-ubyte, train-labels-idx1-ubyte,
    t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, packed (.gz) or not.

    Parameters
    ----------
    root : str or path, optional
        The folder of the files; ``datasets/mnist`` in ``MXNET_HOME`` (``~/.mxnet``) by default.
    train : bool, default True
    transform : callable, optional
        Called with picture and label of each sample; gives the sample.

    Raises
    ------
    MXNetError
        A file is missing, or is not what it should be; the message names it.
    """

    _folder, _classes, _source = (
        "mnist",
        10,
        "get the files, for example, from http://yann.lecun.com/exdb/mnist",
    )

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        part = "train" if self._train else "t10k"
        path = self._find(f"{part}-images-idx3-ubyte")
        pictures, labels = read_idx(path), read_idx(self._find(f"{part}-labels-idx1-ubyte"))
        if pictures.shape[1:] != (28, 28):
            raise MXNetError(f"{path}: shape {pictures.shape}; expected: pictures of 28 x 28")
        return pictures[..., np.newaxis], labels.reshape(-1)

    def _find(self, name: str) -> Path:
        for path in (self._root / f"{name}.gz", self._root / name):
            if path.is_file():
                return path
        raise self._missing(f"{name}.gz (or the same without .gz)")


class FashionMNIST(MNIST):
    """Articles of clothing, in MNIST's format: pictures (28, 28, 1) of uint8, and labels from 0 to 9.

    https://github.com/zalandoresearch/fashion-mnist; Debian's package dataset-fashion-mnist puts the files
    into /usr/share/datasets/fashion-mnist.

    Parameters
    ----------
    root : str or path, optional
        The folder of the files; ``datasets/fashion-mnist`` in ``MXNET_HOME`` (``~/.mxnet``) by default.
    train : bool, default True
    transform : callable, optional
        Called with picture and label of each sample; gives the sample.

    Raises
    ------
    MXNetError
        A file is missing, or is not what it should be; the message names it.
    """

    _folder = "fashion-mnist"
    _source = (
        "Debian's package dataset-fashion-mnist has the files in /usr/share/datasets/fashion-mnist, and "
        "https://github.com/zalandoresearch/fashion-mnist has them too; get them"
    )


# CIFAR's format


class CIFAR10(_Pictures):
    """Photographs of ten kinds of things: pictures (32, 32, 3) of uint8, and labels from 0 to 9.

    https://www.cs.toronto.edu/~kriz/cifar.html: the binary version, as cifar-10-binary.tar.gz or unpacked.

    Parameters
    ----------
    root : str or path, optional
        The folder of the files; ``datasets/cifar10`` in ``MXNET_HOME`` (``~/.mxnet``) by default.
    train : bool, default True
    transform : callable, optional
        Called with picture and label of each sample; gives the sample.

    Raises
    ------
    MXNetError
        A file is missing, or is not what it should be; the message names it.
    """

    _folder, _classes = "cifar10", 10
    _source = "get it from https://www.cs.toronto.edu/~kriz/cifar.html"
    _archive, _inside = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
    #: Bytes before a picture, and which of them is the label.
    _header, _place = 1, 0

    def _names(self) -> list[str]:
        return [f"data_batch_{i}.bin" for i in range(1, 6)] if self._train else ["test_batch.bin"]

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        records = np.concatenate([self._records(name) for name in self._names()])
        pictures = records[:, self._header :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(pictures), records[:, self._place]

    def _records(self, name: str) -> np.ndarray:
        content, size = self._content(name), self._header + 3 * 32 * 32
        if not content or len(content) % size:
            raise MXNetError(
                f"{self._root / name}: {len(content):,} bytes; expected: a multiple of {size}, the size of "
                "a picture with its label"
            )
        return np.frombuffer(content, np.uint8).reshape(-1, size)

    def _content(self, name: str) -> bytes:
        for path in (self._root / name, self._root / self._inside / name):
            if path.is_file():
                return path.read_bytes()
        archive = self._root / self._archive
        if not archive.is_file():
            raise self._missing(f"{name}, or {self._archive},")
        try:
            with tarfile.open(archive) as packed:
                member = packed.extractfile(f"{self._inside}/{name}")
                if member is None:
                    raise KeyError(f"{name} is no file")
                return member.read()
        except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error) as error:
            raise MXNetError(f"{archive}: {self._inside}/{name} cannot be read: {error}") from error


class CIFAR100(CIFAR10):
    """Photographs of a hundred kinds of things, in twenty groups: pictures (32, 32, 3) of uint8.

    https://www.cs.toronto.edu/~kriz/cifar.html: the binary version, as cifar-100-binary.tar.gz or unpacked.

    Parameters
    ----------
    root : str or path, optional
        The folder of the files; ``datasets/cifar100`` in ``MXNET_HOME`` (``~/.mxnet``) by default.
    fine_label : bool, default False
        Labels of the hundred kinds, instead of the twenty groups.
    train : bool, default True
    transform : callable, optional
        Called with picture and label of each sample; gives the sample.

    Raises
    ------
    MXNetError
        A file is missing, or is not what it should be; the message names it.
    """

    _folder = "cifar100"
    _archive, _inside = "cifar-100-binary.tar.gz", "cifar-100-binary"
    _header = 2

    def __init__(self, root=None, fine_label=False, train=True, transform=None):
        self._place = int(bool(fine_label))
        self._classes = 100 if fine_label else 20
        super().__init__(root, train, transform)

    def _names(self) -> list[str]:
        return ["train.bin"] if self._train else ["test.bin"]


class ImageFolderDataset(_Labelled):
    """Pictures in folders, of which each is a class: root/cat/1.jpg, root/dog/2.png, ....

    Parameters
    ----------
    root : str or path
    flag : int, default 1
        1 for three channels, 0 for grey.
    transform : callable, optional
        Called with picture and label of each sample; gives the sample.

    Raises
    ------
    MXNetError
        The folder is missing; later, a picture cannot be read.
    """

    _ENDINGS = (".jpg", ".jpeg", ".png")

    def __init__(self, root, flag=1, transform=None):
        super().__init__(transform)
        self._root, self._flag = Path(root).expanduser(), flag
        if not self._root.is_dir():
            raise MXNetError(f"ImageFolderDataset: root is {self._root}, where there is no folder")
        #: Names of the classes, by label.
        self.synsets: list[str] = []
        #: Pairs of path and label.
        self.items: list[tuple[str, int]] = []
        for folder in sorted(os.listdir(self._root)):
            if not (self._root / folder).is_dir():
                continue
            self.synsets.append(folder)
            for name in sorted(os.listdir(self._root / folder)):
                if name.lower().endswith(self._ENDINGS):
                    self.items.append((str(self._root / folder / name), len(self.synsets) - 1))
                else:
                    warnings.warn(
                        f"ImageFolderDataset: {folder}/{name} is left out: its name does not end in "
                        f"{', '.join(self._ENDINGS)}",
                        stacklevel=2,
                    )

    def __len__(self) -> int:
        return len(self.items)

    def _pair(self, idx) -> tuple[np.ndarray, Any]:
        path, label = self.items[idx]
        return image.read(path, self._flag), label
