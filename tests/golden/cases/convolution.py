"""Convolution and its transpose over 1 to 3 spatial axes."""

import numpy as np

from golden.case import Case, integers, uniform

#: MKL-DNN, as MXNet 1.9.1 calls it, refuses transposed convolutions with padding on one side only.
ENVIRONMENT = {"MXNET_MKLDNN_ENABLED": "0"}

CASES = []


def small(*shape):
    return uniform(*shape, low=-1, high=1)


def whole(*shape):
    return integers(*shape, low=0, high=4)


def conv(tag, data, weight, bias=True, **attributes):
    arrays = [small(*data), small(*weight)] + [small(weight[0])] * bias
    full = {"kernel": weight[2:], "num_filter": weight[0], **attributes}
    return {"op": "Convolution", "args": tuple(arrays), "attributes": full, "tag": tag}


def deconv(tag, data, weight, bias=False, **attributes):
    filters = weight[1] * attributes.get("num_group", 1)
    arrays = [small(*data), small(*weight)] + [small(filters)] * bias
    full = {"kernel": weight[2:], "num_filter": filters, **attributes}
    return {"op": "Deconvolution", "args": tuple(arrays), "attributes": full, "tag": tag}


def refused(case, **changed):
    return Case(**{**case, "attributes": {**case["attributes"], **changed}}, error=True)


def channels_last(data, weight, bias, **attributes):
    """The convolution of (batch, height, width, channels) with (filters, height, width, channels)."""
    windows = np.lib.stride_tricks.sliding_window_view(data, weight.shape[1:3], (1, 2))
    return np.einsum("bijcuv,ouvc->bijo", windows, weight) + bias


def transposed_channels_last(data, weight, **attributes):
    """Its transpose: a window of the weight for each element of data."""
    (batch, height, width, _), (_, rows, columns, filters) = data.shape, weight.shape
    y = np.zeros((batch, height + rows - 1, width + columns - 1, filters), data.dtype)
    for i, j in np.ndindex(rows, columns):
        y[:, i : i + height, j : j + width] += data @ weight[:, i, j]
    return y


#: Of layouts with the channels last.
LAST = {"why": "MXNet has these layouts on GPUs only"}

CASES += [
    Case(
        "Convolution",
        (whole(1, 2, 3, 3), whole(2, 2, 2, 2), whole(2)),
        {"kernel": (2, 2), "num_filter": 2},
        "main",
        sweep=True,
    ),
    Case(**conv("2-d", (1, 2, 3, 3), (2, 2, 2, 2))),
    Case(**conv("1-d", (2, 2, 5), (2, 2, 3), stride=(2,), pad=(1,))),
    Case(**conv("3-d", (1, 1, 2, 3, 3), (2, 1, 2, 1, 2), pad=(0, 1, 0), dilate=(1, 1, 2))),
    Case(
        **conv(
            "everything",
            (1, 4, 5, 4),
            (2, 2, 2, 2),
            stride=(2, 1),
            dilate=(1, 2),
            pad=(1, 1),
            num_group=2,
        )
    ),
    Case(**conv("depthwise", (1, 3, 3, 2), (3, 1, 2, 2), num_group=3, pad=(1, 0))),
    Case(**conv("depthwise multiplied", (1, 2, 3, 2), (4, 1, 2, 1), num_group=2)),
    Case(**conv("no bias", (1, 2, 3, 3), (2, 2, 2, 2), bias=False, no_bias=True)),
    Case(**conv("1x1", (2, 3, 2, 2), (2, 3, 1, 1))),
    Case(**conv("kernel of the data's size", (2, 1, 3, 2), (2, 1, 3, 2))),
    Case(**conv("padding only", (1, 1, 1, 1), (1, 1, 2, 2), pad=(2, 2), stride=(3, 3))),
    Case(**conv("layout 1-d", (1, 1, 3), (1, 1, 2), layout="NCW")),
    Case(**conv("layout 2-d", (1, 1, 3, 2), (1, 1, 2, 2), layout="NCHW")),
    Case(**conv("layout 3-d", (1, 1, 2, 2, 2), (1, 1, 2, 2, 1), layout="NCDHW")),
    Case(
        **conv("strings", (1, 1, 3, 3), (1, 1, 2, 2))
        | {"attributes": {"kernel": "(2, 2)", "pad": "[1,1]", "num_filter": "1", "num_group": "1"}}
    ),
    Case(**conv("tuning", (1, 1, 3), (1, 1, 2), workspace=256, cudnn_tune="off", cudnn_off=True)),
    Case(
        **conv("channels last", (1, 3, 4, 2), (3, 2, 3, 2), kernel=(2, 3), layout="NHWC"),
        reference=channels_last,
        **LAST,
    ),
    Case(
        **conv("channels last, 1x1", (1, 3, 2, 2), (3, 1, 1, 2), kernel=(1, 1), layout="NHWC"),
        reference=channels_last,
        **LAST,
    ),
    refused(conv("layout of another rank", (1, 2, 3, 3), (2, 2, 2, 2)), layout="NCW"),
    refused(conv("stride 0", (1, 2, 3, 3), (2, 2, 2, 2)), stride=(0, 1)),
    refused(conv("short stride", (1, 2, 3, 3), (2, 2, 2, 2)), stride=(1,)),
    refused(conv("too large", (1, 2, 3, 3), (2, 2, 4, 2))),
    refused(conv("other kernel", (1, 2, 3, 3), (2, 2, 2, 2)), kernel=(3, 3)),
    refused(conv("other filters", (1, 2, 3, 3), (2, 2, 2, 2)), num_filter=3),
    refused(conv("groups that do not divide", (1, 3, 3, 3), (2, 3, 2, 2)), num_group=2),
    refused(conv("missing bias", (1, 2, 3, 3), (2, 2, 2, 2), bias=False)),
    refused(conv("needless bias", (1, 2, 3, 3), (2, 2, 2, 2)), no_bias=True),
    refused(conv("rank", (2, 3, 3), (2, 2, 2, 2))),
]

CASES += [
    Case(
        "Deconvolution",
        (whole(1, 2, 2, 2), whole(2, 2, 2, 2)),
        {"kernel": (2, 2), "num_filter": 2},
        "main",
        sweep=True,
    ),
    Case(**deconv("2-d", (1, 2, 2, 2), (2, 2, 2, 2))),
    Case(**deconv("1-d", (2, 2, 3), (2, 2, 3), stride=(2,), pad=(1,))),
    Case(**deconv("3-d", (1, 1, 2, 2, 2), (1, 2, 2, 1, 2), stride=(1, 1, 2), pad=(1, 0, 0))),
    Case(**deconv("bias", (1, 2, 2, 2), (2, 2, 2, 2), bias=True, no_bias=False)),
    Case(**deconv("groups", (1, 4, 2, 2), (4, 1, 2, 2), num_group=2, stride=(2, 1))),
    Case(**deconv("depthwise", (1, 2, 3, 2), (2, 1, 3, 3), num_group=2, pad=(1, 1))),
    Case(**deconv("dilate", (1, 1, 2, 3), (1, 2, 2, 2), dilate=(2, 1), stride=(1, 2))),
    Case(**deconv("adj", (1, 1, 2, 3), (1, 1, 2, 3), stride=(2, 3), pad=(0, 1), adj=(1, 2))),
    Case(**deconv("target", (1, 1, 2, 3), (1, 1, 3, 2), stride=(2, 3), target_shape=(3, 7))),
    Case(
        **deconv(
            "target above pad",
            (1, 1, 2, 2),
            (1, 1, 3, 3),
            stride=(2, 2),
            pad=(9, 9),
            adj=(1, 1),
            target_shape=(4, 5),
        )
    ),
    Case(**deconv("no target", (1, 1, 2, 2), (1, 1, 2, 2), pad=(1, 0), target_shape=(0, 0))),
    Case(**deconv("1x1", (2, 3, 2, 1), (3, 2, 1, 1))),
    refused(deconv("adj too large", (1, 1, 2, 3), (1, 1, 2, 2)), stride=(2, 2), adj=(2, 1)),
    refused(deconv("adj without stride", (1, 1, 2, 3), (1, 1, 2, 2)), adj=(1, 0)),
    refused(deconv("target too large", (1, 1, 2, 3), (1, 1, 2, 2)), target_shape=(4, 4)),
    refused(deconv("pad too large", (1, 1, 2, 3), (1, 1, 2, 2)), pad=(2, 1)),
    refused(deconv("groups that do not divide", (1, 4, 2, 2), (4, 3, 2, 2)), num_group=3),
    refused(deconv("needless bias", (1, 2, 2, 2), (2, 2, 2, 2), bias=True)),
    Case(
        **deconv("channels last", (1, 2, 3, 2), (2, 2, 3, 3), kernel=(2, 3), num_filter=3, layout="NHWC"),
        reference=transposed_channels_last,
        **LAST,
    ),
    refused(deconv("channels last of another rank", (1, 2, 2, 2), (2, 2, 2, 2)), layout="NDHWC"),
]
