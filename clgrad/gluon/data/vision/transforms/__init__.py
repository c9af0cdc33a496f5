"""Transforms of pictures, as blocks: of (height, width, channels) until :class:`ToTensor`.

Each takes NDArrays and numpy arrays, and gives what it is given. What is drawn at random is drawn for each
picture; it follows ``numpy.random.seed``, and in a data loader does not depend on the number of workers.
"""

from clgrad import absent as _absent
from clgrad.gluon.data.vision.transforms.base import Cast, Compose, Normalize, RandomApply, ToTensor
from clgrad.gluon.data.vision.transforms.colour import (
    RandomBrightness,
    RandomColorJitter,
    RandomContrast,
    RandomHue,
    RandomLighting,
    RandomSaturation,
)
from clgrad.gluon.data.vision.transforms.geometry import (
    CenterCrop,
    CropResize,
    RandomCrop,
    RandomFlipLeftRight,
    RandomFlipTopBottom,
    RandomResizedCrop,
    RandomRotation,
    Resize,
    Rotate,
)

__getattr__ = _absent.getter("gluon.data.vision.transforms", __name__)

__all__ = [
    "Cast",
    "CenterCrop",
    "Compose",
    "CropResize",
    "Normalize",
    "RandomApply",
    "RandomBrightness",
    "RandomColorJitter",
    "RandomContrast",
    "RandomCrop",
    "RandomFlipLeftRight",
    "RandomFlipTopBottom",
    "RandomHue",
    "RandomLighting",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSaturation",
    "Resize",
    "Rotate",
    "ToTensor",
]
