"""MXNet's names that clgrad lacks, and why: asking for one raises NotImplementedError, not AttributeError.

The table lists what MXNet 1.9.1 has below ``mx.nd``, and in the modules of data, and clgrad has not; a test
holds it against both. Of ``mx`` itself it names the modules that programs use.
"""

import sys
from collections.abc import Callable

from clgrad.errors import AbsentError

_OWN = "it is part of MXNet's own machinery"
_NUMPY = "MXNet's numpy interface is not part of clgrad"
_LEGACY = "it is an older version of an op, kept by MXNet for old models"
_SPARSE = "clgrad stores arrays densely, but for csr_matrix"
_IMAGES = "images are read by mx.image, and prepared by gluon.data.vision.transforms"
_RECORDS = "files of records and other formats of MXNet's are not read; see gluon.data"
_AUGMENTERS = "pictures are prepared by gluon.data.vision.transforms"
_QUANTISED = "quantised arithmetic is not part of clgrad"
_GRAPHS = "ops of the Deep Graph Library need sparse storage"
_DETECTION = "ops of object detectors are not part of clgrad"
_RARE = "it is an experiment of MXNet that its documentation hardly mentions"
_FOURIER = "Fourier transforms are not part of clgrad; MXNet has them on CUDA devices only"

_TABLE: dict[str, dict[str, str]] = {
    "mx": {
        _NUMPY: "np npx np_symbol numpy numpy_extension",
        "MXNet's modules and executors are not part of clgrad; nets are gluon's": """AttrScope attribute
            callback executor executor_manager mod model module mon monitor""",
        "recurrent layers and cells are in gluon.rnn": "rnn",
        "experiments of MXNet's are in nd.contrib and gluon.contrib": "contrib",
        "own operators are written as autograd.Function": "library operator rtc",
        "files of image records are not part of clgrad": "recordio",
        "clgrad does not read or write ONNX": "onnx",
        "arrays go to other libraries by DLPack": "th torch",
        "it is about MXNet's own library; `clgrad doctor` tells of drivers": "libinfo runtime",
    },
    "nd": {
        _OWN: """CachedOp IdentityAttachKLSparseReg gen__internal gen_contrib gen_image gen_linalg gen_op
            gen_sparse get_indexing_dispatch_code get_oshape_of_gather_nd_op
            indexing_key_expand_implicit_axes ndarray op register utils""",
        "own operators are written as autograd.Function": "Custom",
        _NUMPY: "np npx numpy numpy_extension",
        _LEGACY: "BatchNorm_v1 Convolution_v1 Pooling_v1",
        _IMAGES: "imdecode",
    },
    "contrib": {
        _OWN: """backward_gradientmultiplier backward_hawkesll backward_index_copy backward_quadratic
            current_context math mx ndarray np""",
        _DETECTION: """DeformableConvolution DeformablePSROIPooling ModulatedDeformableConvolution
            MultiBoxDetection MultiBoxPrior MultiBoxTarget MultiProposal PSROIPooling Proposal RROIAlign
            bipartite_matching box_decode box_encode box_iou box_nms box_non_maximum_suppression""",
        _GRAPHS: """dgl_adjacency dgl_csr_neighbor_non_uniform_sample dgl_csr_neighbor_uniform_sample
            dgl_graph_compact dgl_subgraph edge_id getnnz""",
        _QUANTISED: """calibrate_entropy dequantize quantize quantize_asym quantize_v2 quantized_act
            quantized_batch_norm quantized_concat quantized_conv quantized_elemwise_add
            quantized_elemwise_mul quantized_embedding quantized_flatten quantized_fully_connected
            quantized_pooling quantized_rnn requantize""",
        _SPARSE: "SparseEmbedding",
        _RARE: "count_sketch hawkesll",
        _FOURIER: "fft ifft",
        "it is nd.random.uniform": "uniform",
    },
    "sparse": {
        _OWN: """Context NDArrayHandle c_array_buf check_call ctypes current_context gs_retain integer_types
            mx_real_t native_array np numeric_types op operator py_slice py_sum spsp warnings""",
        _SPARSE: """BaseSparseNDArray ElementWiseSum Embedding FullyConnected LinearRegressionOutput
            LogisticRegressionOutput MAERegressionOutput NDArray NotSupportedForSparseNDArray
            RowSparseNDArray abs adagrad_update adam_update add add_n arccos arccosh arcsin arcsinh arctan
            arctanh broadcast_add broadcast_div broadcast_minus broadcast_mul broadcast_plus broadcast_sub
            cbrt ceil clip concat cos cosh degrees divide elemwise_add elemwise_div elemwise_mul
            elemwise_sub exp expm1 fix floor ftrl_update gamma gammaln log log10 log1p log2 make_loss mean
            multiply negative norm radians relu retain rint round row_sparse_array rsqrt sgd_mom_update
            sgd_update sigmoid sign sin sinh slice sqrt square stop_gradient subtract sum tan tanh trunc
            where zeros_like""",
    },
    "image": {
        _IMAGES: """adjust_lighting crop flip_left_right flip_top_bottom normalize random_brightness
            random_color_jitter random_contrast random_flip_left_right random_flip_top_bottom random_hue
            random_lighting random_saturation resize to_tensor""",
    },
    "random": {
        _OWN: "current_context numeric_types",
    },
    "linalg": {},
    "mx.io": {
        _RECORDS: """CSVIter ImageDetRecordIter ImageRecordInt8Iter ImageRecordIter ImageRecordIter_v1
            ImageRecordUInt8Iter ImageRecordUInt8Iter_v1 LibSVMIter MNISTIter MXDataIter""",
        "gluon.data.DataLoader(prefetch=...) reads ahead": "PrefetchingIter",
        "itertools.islice and cycle do that": "ResizeIter",
    },
    "mx.image": {
        _AUGMENTERS: """Augmenter BrightnessJitterAug CastAug CenterCropAug ColorJitterAug ColorNormalizeAug
            ContrastJitterAug CreateAugmenter ForceResizeAug HorizontalFlipAug HueJitterAug ImageIter
            LightingAug RandomCropAug RandomGrayAug RandomOrderAug RandomSizedCropAug ResizeAug
            SaturationJitterAug SequentialAug copyMakeBorder""",
        _DETECTION: """CreateDetAugmenter CreateMultiRandCropAugmenter DetAugmenter DetBorrowAug
            DetHorizontalFlipAug DetRandomCropAug DetRandomPadAug DetRandomSelectAug ImageDetIter""",
    },
    "mx.test_utils": {
        "clgrad opens no connections; gluon.data.vision reads files that are there": """download get_cifar10
            get_mnist get_mnist_iterator get_mnist_pkl get_mnist_ubyte""",
    },
    "gluon": {"clgrad brings no trained nets; SymbolBlock.imports reads MXNet's": "model_zoo"},
    "gluon.contrib": {
        "loops of training are written out; see the examples": "estimator",
        "cells are in gluon.rnn; those that convolve are not part of clgrad": "rnn",
        _DETECTION: "cnn",
    },
    "gluon.data": {_RECORDS: "RecordFileDataset"},
    "gluon.data.vision": {_RECORDS: "ImageRecordDataset"},
    "gluon.data.vision.transforms": {},
}

#: Why each name is absent, by namespace.
REASONS: dict[str, dict[str, str]] = {
    space: {name: reason for reason, names in groups.items() for name in names.split()}
    for space, groups in _TABLE.items()
}


def getter(space: str, module: str) -> Callable[[str], object]:
    """The ``__getattr__`` of the module of a namespace, which Python asks for names that it lacks.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.nd.contrib.quantize
    Traceback (most recent call last):
    ...
    clgrad.errors.AbsentError: nd.contrib.quantize: quantised arithmetic is not part of clgrad
    """
    path = space if space in ("mx", "nd", "gluon") or "." in space else f"nd.{space}"

    def find(name: str) -> object:
        reason = REASONS[space].get(name)
        if reason is None:
            # With both, Python says which name was meant, perhaps.
            text = f"module {module!r} has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=sys.modules[module])
        raise AbsentError(f"{path}.{name}: {reason}")

    return find
