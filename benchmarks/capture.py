"""Steps of training, eager, captured, and captured with kernels fused; the peers are eager each time.

A captured step launches what the eager one does; a fused one fewer and larger kernels (`clgrad.capture`).
"""

from benchmarks import launch_overhead, train

STEP = "record, 4 ops, backward"
#: The smaller nets, of which launches make up much.
NETS = ("MLP", "LeNet", "LSTM", "GPT block", "ResNet-18")
WAYS = ("eager", "captured", "fused")
CASES = {
    f"{name}: {way}": what
    for name, what in {STEP: launch_overhead.CASES[STEP], **{n: train.CASES[n] for n in NETS}}.items()
    for way in WAYS
}
BAR = {"torch": 1.3, "mxnet": 1.2}


def bar(case, peer):
    name, _, way = case.partition(": ")
    if peer == "torch":
        return None if way == "eager" or name == "ResNet-18" else 1.0 if name == STEP else BAR[peer]
    return BAR[peer]


def _eager(module_of, framework, case):
    name = case.partition(": ")[0]
    family = launch_overhead if name == STEP else train
    return getattr(family, module_of)(framework, name)


def clgrad(clgrad, case):
    step = _eager("mxnet", clgrad, case)
    way = case.partition(": ")[2]
    return step if way == "eager" else clgrad.capture(step, fuse=way == "fused")


def mxnet(mx, case):
    return _eager("mxnet", mx, case)


def torch(torch, case):
    return _eager("torch", torch, case)
