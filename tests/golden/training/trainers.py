"""A small net trained by a Trainer: the weights after each of 6 steps."""

import numpy as np

CASES = [
    ("sgd", {"learning_rate": 0.1, "momentum": 0.9, "wd": 0.01}),
    ("adam", {"learning_rate": 0.05}),
    ("rmsprop", {"learning_rate": 0.01, "clip_gradient": 0.5}),
]


def net_of(mx, seed=3):
    """Two layers, whose weights depend on the seed; the second learns at half the rate."""
    draw = np.random.RandomState(seed)
    net = mx.gluon.nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(mx.gluon.nn.Dense(4, activation="tanh", in_units=3), mx.gluon.nn.Dense(2, in_units=4))
    net.initialize()
    for _, parameter in sorted(net.collect_params().items()):
        parameter.set_data(mx.nd.array(draw.standard_normal(parameter.shape)))
    net[1].weight.lr_mult, net[1].bias.wd_mult = 0.5, 0.0
    return net


def weights_of(net) -> np.ndarray:
    return np.concatenate([p.data().asnumpy().ravel() for _, p in sorted(net.collect_params().items())])


def backward(mx, net, step: int) -> int:
    """A batch forward and backward; its size."""
    draw = np.random.RandomState(step)
    x, y = (mx.nd.array(draw.standard_normal(s)) for s in ((5, 3), (5, 2)))
    with mx.autograd.record():
        loss = ((net(x) - y) ** 2).sum()
    loss.backward()
    return 5


def answers(mx) -> dict[str, np.ndarray]:
    found = {}
    for name, arguments in CASES:
        net = net_of(mx)
        trainer = mx.gluon.Trainer(net.collect_params(), name, dict(arguments))
        kept = []
        for step in range(6):
            size = backward(mx, net, step)
            if step == 3:
                trainer.set_learning_rate(trainer.learning_rate / 2)
            if step % 2:
                trainer.allreduce_grads()
                trainer.update(size)
            else:
                trainer.step(size)
            kept.append(weights_of(net))
        found[name] = np.array(kept)
    arrays = [mx.nd.array([3.0, -1.0]), mx.nd.array([[4.0]])]
    norm = mx.gluon.utils.clip_global_norm(arrays, 2.0)
    found["clipped"] = np.array([norm, *(v for a in arrays for v in a.asnumpy().ravel())])
    return found
