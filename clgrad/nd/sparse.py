"""``mx.nd.sparse``: matrices in compressed rows (CSR); what else MXNet has for sparse storage is absent."""

from clgrad import absent
from clgrad.ops.product import dot
from clgrad.ops.sparse import CSRNDArray, cast_storage, csr_matrix, zeros
from clgrad.ops.sparse import array_of as array
from clgrad.registry import namespace

globals().update(namespace("sparse"))
__getattr__ = absent.getter("sparse", __name__)

#: What has no value yet is 0: nothing is stored.
empty = zeros

__all__ = ["CSRNDArray", "array", "cast_storage", "csr_matrix", "dot", "empty", "zeros"]
