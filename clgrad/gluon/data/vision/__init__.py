"""Pictures: datasets of them in local files, and what is made of them before training."""

from clgrad import absent as _absent
from clgrad.gluon.data.vision import transforms
from clgrad.gluon.data.vision.datasets import CIFAR10, CIFAR100, MNIST, FashionMNIST, ImageFolderDataset

__getattr__ = _absent.getter("gluon.data.vision", __name__)

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "ImageFolderDataset", "transforms"]
