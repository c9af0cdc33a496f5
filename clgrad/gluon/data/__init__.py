"""``mx.gluon.data``: datasets, in which order their samples come, and batches of them on a device."""

from clgrad import absent as _absent
from clgrad.gluon.data import vision
from clgrad.gluon.data.batchify import default_batchify_fn, default_mp_batchify_fn
from clgrad.gluon.data.dataloader import DataLoader
from clgrad.gluon.data.dataset import ArrayDataset, Dataset, SimpleDataset
from clgrad.gluon.data.sampler import (
    BatchSampler,
    FilterSampler,
    IntervalSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
)
from clgrad.gluon.data.workers import DataLoaderError

__getattr__ = _absent.getter("gluon.data", __name__)

__all__ = [
    "ArrayDataset",
    "BatchSampler",
    "DataLoader",
    "DataLoaderError",
    "Dataset",
    "FilterSampler",
    "IntervalSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SimpleDataset",
    "default_batchify_fn",
    "default_mp_batchify_fn",
    "vision",
]
