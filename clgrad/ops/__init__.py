"""The ops: each one is declared once, here, and everything else is made from the table.

========================  ==========================================================
module                    ops
========================  ==========================================================
:mod:`.unary`             signs, powers, exponentials, rounding of one array
:mod:`.trigonometric`     trigonometric and hyperbolic functions
:mod:`.special`           the error and gamma functions and their kin
:mod:`.arithmetic`        functions of two arrays, comparisons
:mod:`.selection`         where
:mod:`.reduction`         sums, extrema, norms along axes
:mod:`.arguments`         checks of axes and dtypes, for the modules below
:mod:`.shape`             reshaping, transposing, slicing, joining
:mod:`.repetition`        broadcasting along axes, tile, repeat
:mod:`.parting`           split, slice_like
:mod:`.product`           matrix products
:mod:`.matrix`            diagonals and triangles of matrices
:mod:`.factorisation`     Cholesky, LU, LQ, eigenvalues; solutions, inverses, determinants
:mod:`.indexing`          take, pick, Embedding
:mod:`.sparse`            cast_storage; matrices in compressed rows
:mod:`.positions`         what advanced indices mean
:mod:`.multi_index`       gather_nd, scatter_nd, ravel_multi_index
:mod:`.padded`            SequenceMask, SequenceLast, SequenceReverse
:mod:`.convolution`       convolution and its transpose
:mod:`.pooling`           pooling over windows
:mod:`.resize`            interpolation, adaptive averages, repetition of images
:mod:`.pad`               padding and cropping of images
:mod:`.sampler`           sampling of images at the places of a grid
:mod:`.roi`               pooling over regions of images
:mod:`.correlation`       correlation of two feature maps
:mod:`.blocks`            windows and blocks of images as columns and channels
:mod:`.moving`            boolean_mask, index_copy
:mod:`.scan`              cumulative sums
:mod:`.sorting`           sort, argsort, topk
:mod:`.histogram`         histogram
:mod:`.activation`        relu, sigmoid, ...; Activation, LeakyReLU
:mod:`.softmax`           softmax and cross-entropy
:mod:`.loss`              output layers that are losses
:mod:`.normalization`     standardising: BatchNorm, LayerNorm, ...
:mod:`.norm_scaling`      division by a norm: L2Normalization, LRN
:mod:`.dropout`           dropout
:mod:`.attention`         attention on interleaved projections
:mod:`.flash_attention`   attention that never stores the matrix of scores
:mod:`.estimators`        functions whose gradient is chosen
:mod:`.checks`            all_finite, allclose
:mod:`.mixed_precision`   casts of automatic mixed precision
:mod:`.group_sums`        sums over each of many arrays
:mod:`.pieces`            arrays in pieces, for ops that go step by step
:mod:`.recurrent`         RNN, with the cells of :mod:`.cells`
:mod:`.ctc`               CTCLoss
:mod:`.control`           loops and branches: foreach, while_loop, cond
:mod:`.creation`          arrays from nothing
:mod:`.conversion`        changing dtype or device
:mod:`.generator`         seeds, and the count of draws
:mod:`.sampling`          random arrays of known distributions
:mod:`.sampling_names`    MXNet's older names of these
:mod:`.choice`            random classes and permutations
:mod:`.density`           densities of the distributions
:mod:`.zipfian`           candidates for sampled losses
:mod:`.sgd`               parameter updates along the gradient or its momentum
:mod:`.adaptive`          adaptive ones: Adam, RMSProp, FTRL, ...
:mod:`.lamb`              LAMB
:mod:`.multi_optimizer`   updates of many parameters at once, under MXNet's names
:mod:`.multi_adaptive`    the same for the other optimizers
========================  ==========================================================
"""

from clgrad.ops import (  # noqa: F401  (importing declares)
    activation,
    adaptive,
    arguments,
    arithmetic,
    attention,
    blocks,
    cells,
    checks,
    choice,
    control,
    conversion,
    convolution,
    correlation,
    creation,
    ctc,
    density,
    dropout,
    estimators,
    factorisation,
    flash_attention,
    group_sums,
    histogram,
    indexing,
    lamb,
    loss,
    matrix,
    mixed_precision,
    moving,
    multi_adaptive,
    multi_index,
    multi_optimizer,
    norm_scaling,
    normalization,
    pad,
    padded,
    parting,
    pieces,
    pooling,
    positions,
    product,
    recurrent,
    reduction,
    repetition,
    resize,
    roi,
    sampler,
    sampling,
    sampling_names,
    scan,
    selection,
    sgd,
    shape,
    softmax,
    sorting,
    sparse,
    special,
    trigonometric,
    unary,
    zipfian,
)
