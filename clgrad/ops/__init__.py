"""The ops: each one is declared once, here, and everything else is made from the table.

========================  ==========================================================
module                    ops
========================  ==========================================================
:mod:`.unary`             functions of one array, element by element
:mod:`.arithmetic`        functions of two arrays, comparisons
:mod:`.selection`         where
:mod:`.reduction`         sums, extrema, norms along axes
:mod:`.shape`             reshaping, transposing, slicing, joining
:mod:`.linalg`            matrix products
:mod:`.indexing`          take, pick, one_hot, Embedding
:mod:`.convolution`       convolution and pooling
:mod:`.neural`            activations, softmax, normalisation, dropout
:mod:`.creation`          arrays from nothing
:mod:`.conversion`        changing dtype or device
:mod:`.sampling`          random arrays
:mod:`.optimizer`         parameter updates
========================  ==========================================================
"""

from clgrad.ops import (  # noqa: F401  (importing declares)
    arithmetic,
    conversion,
    convolution,
    creation,
    indexing,
    linalg,
    neural,
    optimizer,
    reduction,
    sampling,
    selection,
    shape,
    unary,
)
