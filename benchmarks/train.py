"""Steps of training, eager: forward, loss, backward, and the update by SGD.

The losses of the third step are compared before steps are timed.
"""

from benchmarks import models

#: The bar is set for the geometric mean.
BAR = {"torch": 1.0}

NETS = {
    "MLP": models.MLP,
    "LeNet": models.LENET,
    "LSTM": models.LSTM,
    "ResNet-18": models.RESNET18_32,
    "ResNet-18, 224": models.RESNET18_224,
    "GPT block": models.GPT_BLOCK,
}
CASES = {
    "MLP": "784-512-512-10, batch 128",
    "LeNet": "two convolutions of 5 x 5, two dense layers, batch 64",
    "LSTM": "256 units, 64 steps of 32 sequences of 128 numbers",
    "ResNet-18": "eight residual blocks, 32 images of 32 x 32",
    "ResNet-18, 224": "4 images of 224 x 224",
    "GPT block": "causal attention in 4 heads, a feed-forward net, width 256, 8 sequences of 128",
}


def mxnet(mx, case: str):
    return NETS[case].mxnet(mx)


def torch(torch, case: str):
    return NETS[case].torch(torch)


def tinygrad(tinygrad, case: str):
    return NETS[case].tinygrad(tinygrad)
