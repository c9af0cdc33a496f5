"""Reading and writing NDArrays by index, as numpy's basic and advanced indexing.

Some habits are MXNet's: an index of single elements gives shape (1,), a slice that selects nothing is an
error, and an array of real numbers is an array of indices.
"""

from clgrad.ndindex.reading import read
from clgrad.ndindex.writing import write

__all__ = ["read", "write"]
