"""MXNet's names that clgrad lacks, and why: asking for one raises NotImplementedError, not AttributeError.

The table lists what MXNet 1.9.1 has below ``mx.nd`` and clgrad does not mean to have, or did not have when
the line was written. Nobody need take a name out: a module asks here only for what it does not find.
"""

from collections.abc import Callable

from clgrad.errors import AbsentError

_OWN = "it is part of MXNet's own machinery"
_NUMPY = "MXNet's numpy interface is not part of clgrad"
_LEGACY = "it is an older version of an op, kept by MXNet for old models"
_SPARSE = "clgrad stores arrays densely, but for csr_matrix"
_IMAGES = "images and image records are not read on the device"
_QUANTISED = "quantised arithmetic is not part of clgrad"
_GRAPHS = "ops of the Deep Graph Library need sparse storage"
_DETECTION = "ops of object detectors are not part of clgrad"
_RARE = "it is an experiment of MXNet that its documentation hardly mentions"
_YET = "it has not been written yet"

_TABLE: dict[str, dict[str, str]] = {
    "nd": {
        _OWN: """CachedOp IdentityAttachKLSparseReg gen__internal gen_contrib gen_image gen_linalg gen_op
            gen_sparse get_indexing_dispatch_code get_oshape_of_gather_nd_op
            indexing_key_expand_implicit_axes ndarray op register utils""",
        "own operators are written as autograd.Function": "Custom",
        _NUMPY: "np npx numpy numpy_extension",
        _LEGACY: """BatchNorm_v1 Convolution_v1 Pooling_v1 Crop fill_element_0index onehot_encode""",
        _SPARSE: "cast_storage",
        _IMAGES: "imdecode",
        _YET: """BilinearSampler CTCLoss Correlation Deconvolution GridGenerator GroupNorm InstanceNorm
            L2Normalization LRN LayerNorm LinearRegressionOutput LogisticRegressionOutput
            MAERegressionOutput Pad RNN ROIPooling SVMOutput SequenceLast SequenceMask SequenceReverse
            Softmax SoftmaxActivation SoftmaxOutput SpatialTransformer UpSampling adam_update all_finite
            amp_cast amp_multicast argmax_channel argsort batch_take col2im ctc_loss cumsum depth_to_space
            diag ftml_update ftrl_update gather_nd histogram im2col khatri_rao lamb_update_phase1
            lamb_update_phase2 linalg_det linalg_extractdiag linalg_extracttrian linalg_gelqf linalg_gemm
            linalg_gemm2 linalg_inverse linalg_makediag linalg_maketrian linalg_potrf linalg_potri
            linalg_slogdet linalg_sumlogdiag linalg_syrk linalg_trmm linalg_trsm moments
            mp_lamb_update_phase1 mp_lamb_update_phase2 mp_nag_mom_update mp_sgd_mom_update mp_sgd_update
            multi_all_finite multi_lars multi_mp_sgd_mom_update multi_mp_sgd_update multi_sgd_mom_update
            multi_sgd_update multi_sum_sq nag_mom_update normal pad preloaded_multi_mp_sgd_mom_update
            preloaded_multi_mp_sgd_update preloaded_multi_sgd_mom_update preloaded_multi_sgd_update
            random_exponential random_gamma random_generalized_negative_binomial random_negative_binomial
            random_pdf_dirichlet random_pdf_exponential random_pdf_gamma
            random_pdf_generalized_negative_binomial random_pdf_negative_binomial random_pdf_normal
            random_pdf_poisson random_pdf_uniform random_poisson random_randint ravel_multi_index repeat
            reset_arrays rmsprop_update rmspropalex_update sample_exponential sample_gamma
            sample_generalized_negative_binomial sample_multinomial sample_negative_binomial sample_normal
            sample_poisson sample_uniform scatter_nd sgd_mom_update shuffle signsgd_update signum_update
            sort space_to_depth split_v2 tile topk uniform unravel_index""",
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
        _SPARSE: "SparseEmbedding group_adagrad_update",
        _RARE: "count_sketch hawkesll quadratic rand_zipfian",
        _YET: """AdaptiveAvgPooling2D BatchNormWithReLU BilinearResize2D CTCLoss ROIAlign SyncBatchNorm
            adamw_update allclose arange_like boolean_mask cond ctc_loss div_sqrt_dim fft foreach
            gradientmultiplier ifft index_array index_copy interleaved_matmul_encdec_qk
            interleaved_matmul_encdec_valatt interleaved_matmul_selfatt_qk
            interleaved_matmul_selfatt_valatt isfinite isinf isnan mp_adamw_update multi_adamw_update
            multi_lamb_update multi_mp_adamw_update multi_mp_lamb_update round_ste sign_ste uniform
            while_loop""",
    },
    "sparse": {
        _OWN: """Context NDArrayHandle c_array_buf check_call ctypes current_context gs_retain integer_types
            mx_real_t native_array np numeric_types op operator py_slice py_sum spsp warnings""",
        _SPARSE: """BaseSparseNDArray CSRNDArray ElementWiseSum Embedding FullyConnected
            LinearRegressionOutput LogisticRegressionOutput MAERegressionOutput NDArray
            NotSupportedForSparseNDArray RowSparseNDArray abs adagrad_update adam_update add add_n arccos
            arccosh arcsin arcsinh arctan arctanh array broadcast_add broadcast_div broadcast_minus
            broadcast_mul broadcast_plus broadcast_sub cast_storage cbrt ceil clip concat cos cosh
            csr_matrix degrees divide dot elemwise_add elemwise_div elemwise_mul elemwise_sub empty exp
            expm1 fix floor ftrl_update gamma gammaln log log10 log1p log2 make_loss mean multiply negative
            norm radians relu retain rint round row_sparse_array rsqrt sgd_mom_update sgd_update sigmoid
            sign sin sinh slice sqrt square stop_gradient subtract sum tan tanh trunc where zeros
            zeros_like""",
    },
    "image": {
        _YET: """adjust_lighting crop flip_left_right flip_top_bottom normalize random_brightness
            random_color_jitter random_contrast random_flip_left_right random_flip_top_bottom random_hue
            random_lighting random_saturation resize to_tensor""",
    },
    "random": {
        _OWN: "NDArray current_context numeric_types",
        _YET: """exponential exponential_like gamma gamma_like generalized_negative_binomial
            generalized_negative_binomial_like multinomial negative_binomial negative_binomial_like
            normal_like poisson poisson_like randint shuffle uniform_like""",
    },
    "linalg": {
        _YET: """det extractdiag extracttrian gelqf gemm gemm2 inverse makediag maketrian potrf potri
            slogdet sumlogdiag syevd syrk trmm trsm""",
    },
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
    path = "nd" if space == "nd" else f"nd.{space}"

    def find(name: str) -> object:
        reason = REASONS[space].get(name)
        if reason is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        raise AbsentError(f"{path}.{name}: {reason}")

    return find
