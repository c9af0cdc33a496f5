"""The nets of `train`: each written for MXNet and clgrad, and for PyTorch as its users write it."""

import numpy as np

from benchmarks.nets import Arrays, Net, Parameters, labels, numbers


def _cross_entropy(nd, scores, label):
    """What gluon.loss.SoftmaxCrossEntropyLoss computes, and the mean of it."""
    return -nd.pick(nd.log_softmax(scores), label).mean()


def _dense(nd, p, name: str, x, **attributes):
    weight = p[f"{name}_weight"]
    return nd.FullyConnected(x, weight, p[f"{name}_bias"], num_hidden=weight.shape[0], **attributes)


def _linear(torch, p, name: str, x):
    return torch.nn.functional.linear(x, p[f"{name}_weight"], p[f"{name}_bias"])


# Multi-layer perceptron


def _mlp_parameters() -> Arrays:
    made = Parameters()
    made.layer("first", 512, 784)
    made.layer("second", 512, 512)
    made.layer("last", 10, 512)
    return made.arrays


def _mlp_mxnet(nd, p, x, label):
    for name in ("first", "second"):
        x = nd.relu(_dense(nd, p, name, x))
    return _cross_entropy(nd, _dense(nd, p, "last", x), label)


def _mlp_torch(torch, p, x, label):
    for name in ("first", "second"):
        x = torch.relu(_linear(torch, p, name, x))
    return torch.nn.functional.cross_entropy(_linear(torch, p, "last", x), label)


def _mlp_tinygrad(tensor, p, x, label):
    for name in ("first", "second"):
        x = x.linear(p[f"{name}_weight"].T, p[f"{name}_bias"]).relu()
    return x.linear(p["last_weight"].T, p["last_bias"]).cross_entropy(label)


MLP = Net(
    _mlp_parameters,
    lambda: [numbers(128, 784), labels(10, 128)],
    _mlp_mxnet,
    _mlp_torch,
    tinygrad_loss=_mlp_tinygrad,
)


# LeNet


def _lenet_parameters() -> Arrays:
    made = Parameters()
    made.layer("conv1", 20, 1, 5, 5)
    made.layer("conv2", 50, 20, 5, 5)
    made.layer("dense", 500, 800)
    made.layer("last", 10, 500)
    return made.arrays


def _lenet_mxnet(nd, p, x, label):
    for name, filters in (("conv1", 20), ("conv2", 50)):
        x = nd.Convolution(x, p[f"{name}_weight"], p[f"{name}_bias"], kernel=(5, 5), num_filter=filters)
        x = nd.Pooling(nd.relu(x), kernel=(2, 2), stride=(2, 2), pool_type="max")
    x = nd.relu(_dense(nd, p, "dense", x))
    return _cross_entropy(nd, _dense(nd, p, "last", x), label)


def _lenet_torch(torch, p, x, label):
    functional = torch.nn.functional
    for name in ("conv1", "conv2"):
        x = functional.conv2d(x, p[f"{name}_weight"], p[f"{name}_bias"])
        x = functional.max_pool2d(torch.relu(x), 2)
    x = torch.relu(_linear(torch, p, "dense", x.flatten(1)))
    return functional.cross_entropy(_linear(torch, p, "last", x), label)


def _lenet_tinygrad(tensor, p, x, label):
    for name in ("conv1", "conv2"):
        x = x.conv2d(p[f"{name}_weight"], p[f"{name}_bias"]).relu().max_pool2d(2)
    x = x.flatten(1).linear(p["dense_weight"].T, p["dense_bias"]).relu()
    return x.linear(p["last_weight"].T, p["last_bias"]).cross_entropy(label)


LENET = Net(
    _lenet_parameters,
    lambda: [numbers(64, 1, 28, 28), labels(10, 64)],
    _lenet_mxnet,
    _lenet_torch,
    tinygrad_loss=_lenet_tinygrad,
)


# LSTM

STEPS, SEQUENCES, NUMBERS, UNITS = 64, 32, 128, 256
#: The parts of MXNet's packed parameters, in its order; PyTorch has the same order of gates.
PARTS = {
    "weight_ih": (4 * UNITS, NUMBERS),
    "weight_hh": (4 * UNITS, UNITS),
    "bias_ih": (4 * UNITS,),
    "bias_hh": (4 * UNITS,),
}


def _lstm_parts() -> Arrays:
    made = Parameters()
    for name, shape in PARTS.items():
        if len(shape) == 2:
            made.weight(name, *shape)
        else:
            made.arrays[name] = np.zeros(shape, np.float32)
    made.layer("last", 10, UNITS)
    return made.arrays


def _lstm_packed() -> Arrays:
    arrays = _lstm_parts()
    arrays["lstm"] = np.concatenate([arrays.pop(name).ravel() for name in PARTS])
    return arrays


def _lstm_mxnet(nd, p, x, label):
    states = nd.zeros((1, SEQUENCES, UNITS)), nd.zeros((1, SEQUENCES, UNITS))
    x = nd.RNN(x, p["lstm"], *states, state_size=UNITS, num_layers=1, mode="lstm")
    return _cross_entropy(nd, _dense(nd, p, "last", x[STEPS - 1]), label)


def _lstm_torch(torch, p, x, label):
    states = torch.zeros(1, SEQUENCES, UNITS), torch.zeros(1, SEQUENCES, UNITS)
    # What nn.LSTM calls: biases, one layer, no dropout, training, one direction, time first.
    x = torch.lstm(x, states, [p[name] for name in PARTS], True, 1, 0.0, True, False, False)[0]
    return torch.nn.functional.cross_entropy(_linear(torch, p, "last", x[STEPS - 1]), label)


LSTM = Net(
    _lstm_packed,
    lambda: [numbers(STEPS, SEQUENCES, NUMBERS), labels(10, SEQUENCES)],
    _lstm_mxnet,
    _lstm_torch,
    torch_layout=lambda packed: _lstm_parts(),
)


# ResNet-18, for images of 224 x 224, and as it is used for images of 32 x 32: there the first convolution
# is one of 3 x 3, and no pooling follows it

#: Channels, filters and stride of each block.
BLOCKS = (
    *((64, 64, 1), (64, 64, 1)),
    *((64, 128, 2), (128, 128, 1)),
    *((128, 256, 2), (256, 256, 1)),
    *((256, 512, 2), (512, 512, 1)),
)


def _resnet_parameters(stem: int) -> Arrays:
    made = Parameters()

    def unit(name: str, filters: int, channels: int, kernel: int) -> None:
        made.weight(f"{name}_weight", filters, channels, kernel, kernel)
        made.norm(name, filters)
        made.moments(name, filters)

    unit("stem", 64, 3, stem)
    for number, (channels, filters, stride) in enumerate(BLOCKS):
        unit(f"{number}_first", filters, channels, 3)
        unit(f"{number}_second", filters, filters, 3)
        if stride > 1:
            unit(f"{number}_short", filters, channels, 1)
    made.layer("last", 10, BLOCKS[-1][1])
    return made.arrays


def _blocks(unit, relu, pool, x):
    """``unit(x, name, stride)`` is a convolution and its batch normalisation; ``pool`` halves the sizes."""
    large = x.shape[-1] > 32
    x = relu(unit(x, "stem", 2 if large else 1))
    x = pool(x) if large else x
    for number, (_, _, stride) in enumerate(BLOCKS):
        y = relu(unit(x, f"{number}_first", stride))
        y = unit(y, f"{number}_second", 1)
        x = relu(y + (unit(x, f"{number}_short", stride) if stride > 1 else x))
    return x


def _moments(p, name: str) -> list:
    return [p[f"{name}_{part}"] for part in ("gamma", "beta", "mean", "var")]


def _resnet_mxnet(nd, p, x, label):
    def unit(x, name: str, stride: int):
        weight = p[f"{name}_weight"]
        filters, _, *kernel = weight.shape
        sizes = {"kernel": kernel, "stride": (stride, stride), "pad": [k // 2 for k in kernel]}
        x = nd.Convolution(x, weight, num_filter=filters, no_bias=True, **sizes)
        return nd.BatchNorm(x, *_moments(p, name), eps=1e-5, fix_gamma=False)

    def pool(x):
        return nd.Pooling(x, pool_type="max", kernel=(3, 3), stride=(2, 2), pad=(1, 1))

    x = _blocks(unit, nd.relu, pool, x)
    x = nd.Pooling(x, global_pool=True, pool_type="avg", kernel=(1, 1))
    return _cross_entropy(nd, _dense(nd, p, "last", x), label)


def _resnet_torch(torch, p, x, label):
    functional = torch.nn.functional

    def unit(x, name: str, stride: int):
        weight = p[f"{name}_weight"]
        x = functional.conv2d(x, weight, None, stride, weight.shape[2] // 2)
        gamma, beta, mean, var = _moments(p, name)
        return functional.batch_norm(x, mean, var, gamma, beta, training=True, eps=1e-5)

    def pool(x):
        return functional.max_pool2d(x, 3, 2, 1)

    x = _blocks(unit, torch.relu, pool, x).mean((2, 3))
    return functional.cross_entropy(_linear(torch, p, "last", x), label)


def _resnet18(images: int, size: int, stem: int) -> Net:
    return Net(
        lambda: _resnet_parameters(stem),
        lambda: [numbers(images, 3, size, size), labels(10, images)],
        _resnet_mxnet,
        _resnet_torch,
    )


RESNET18_32 = _resnet18(32, 32, 3)
RESNET18_224 = _resnet18(4, 224, 7)


# A block of a transformer that reads from left to right, and a layer that scores the next of 128 characters

BATCH, LENGTH, WIDTH, HEADS, CHARACTERS = 8, 128, 256, 4, 128
DEPTH = WIDTH // HEADS


def _gpt_parameters() -> Arrays:
    made = Parameters()
    made.norm("norm1", WIDTH)
    made.layer("qkv", 3 * WIDTH, WIDTH)
    made.layer("projection", WIDTH, WIDTH)
    made.norm("norm2", WIDTH)
    made.layer("wide", 4 * WIDTH, WIDTH)
    made.layer("narrow", WIDTH, 4 * WIDTH)
    made.layer("last", CHARACTERS, WIDTH)
    return made.arrays


def _gpt_inputs() -> list[np.ndarray]:
    above = np.triu(np.full((1, LENGTH, LENGTH), -1e9, np.float32), 1)
    return [numbers(BATCH, LENGTH, WIDTH), labels(CHARACTERS, BATCH * LENGTH), above]


def _gpt_mxnet(nd, p, x, label, above):
    def attended(parts):
        query, key, value = (nd.reshape(part, (BATCH * HEADS, LENGTH, DEPTH)) for part in parts)
        scores = nd.batch_dot(query, key, transpose_b=True) * DEPTH**-0.5
        y = nd.batch_dot(nd.softmax(nd.broadcast_add(scores, above)), value)
        return nd.reshape(y, (BATCH, HEADS, LENGTH, DEPTH))

    return _gpt(nd, p, x, label, attended)


def _gpt_clgrad(nd, p, x, label, above):
    return _gpt(nd, p, x, label, lambda parts: nd.contrib.flash_attention(*parts, causal=True))


def _gpt(nd, p, x, label, attended):
    def norm(x, name: str):
        return nd.LayerNorm(x, p[f"{name}_gamma"], p[f"{name}_beta"], eps=1e-5)

    def dense(x, name: str):
        return _dense(nd, p, name, x, flatten=False)

    def heads(x):
        return nd.transpose(nd.reshape(x, (BATCH, LENGTH, HEADS, DEPTH)), (0, 2, 1, 3))

    def attention(x):
        y = attended([heads(part) for part in nd.split(dense(x, "qkv"), 3, axis=2)])
        y = nd.transpose(y, (0, 2, 1, 3))
        return dense(nd.reshape(y, (BATCH, LENGTH, WIDTH)), "projection")

    x = x + attention(norm(x, "norm1"))
    x = x + dense(nd.LeakyReLU(dense(norm(x, "norm2"), "wide"), act_type="gelu"), "narrow")
    return _cross_entropy(nd, nd.reshape(dense(x, "last"), (-1, CHARACTERS)), label)


def _gpt_torch(torch, p, x, label, above):
    functional = torch.nn.functional

    def norm(x, name: str):
        return functional.layer_norm(x, (WIDTH,), p[f"{name}_gamma"], p[f"{name}_beta"], 1e-5)

    def attention(x):
        parts = _linear(torch, p, "qkv", x).chunk(3, 2)
        heads = (part.view(BATCH, LENGTH, HEADS, DEPTH).transpose(1, 2) for part in parts)
        y = functional.scaled_dot_product_attention(*heads, is_causal=True)
        return _linear(torch, p, "projection", y.transpose(1, 2).reshape(BATCH, LENGTH, WIDTH))

    x = x + attention(norm(x, "norm1"))
    y = functional.gelu(_linear(torch, p, "wide", norm(x, "norm2")))
    x = x + _linear(torch, p, "narrow", y)
    return functional.cross_entropy(_linear(torch, p, "last", x).view(-1, CHARACTERS), label)


GPT_BLOCK = Net(_gpt_parameters, _gpt_inputs, _gpt_mxnet, _gpt_torch, clgrad_loss=_gpt_clgrad)
