"""Elementwise ops, forward and with gradients, on 4M elements: traffic and elementary functions."""

from benchmarks.cases import Op, descriptions, normal, runners, uniform, with_gradients

SIZE = 1 << 22
ROWS = COLUMNS = 2048

BAR = {"torch": 1.0}


def _unary(name: str, values=None, *, torch=None, tinygrad=None, mxnet=None) -> Op:
    return Op(
        f"{name}(x)",
        [values or normal(SIZE)],
        mxnet=mxnet or (lambda nd, x: getattr(nd, name)(x)),
        torch=torch or (lambda torch, x: getattr(torch, name)(x)),
        tinygrad=tinygrad or (lambda tensor, x: getattr(x, name)()),
    )


POSITIVE = uniform(0.1, 4, SIZE)
UNARY = {
    "relu": _unary("relu"),
    "abs": _unary("abs"),
    "square": _unary("square"),
    "sqrt": _unary("sqrt", POSITIVE),
    "rsqrt": _unary("rsqrt", POSITIVE),
    "exp": _unary("exp"),
    "expm1": _unary("expm1", tinygrad=lambda tensor, x: x.exp() - 1),
    "log": _unary("log", POSITIVE),
    "log1p": _unary("log1p", POSITIVE, tinygrad=lambda tensor, x: (x + 1).log()),
    "sin": _unary("sin"),
    "cos": _unary("cos"),
    "tanh": _unary("tanh"),
    "sigmoid": _unary("sigmoid"),
    "erf": _unary("erf"),
    "gelu": _unary(
        "gelu",
        mxnet=lambda nd, x: nd.LeakyReLU(x, act_type="gelu"),
        torch=lambda torch, x: torch.nn.functional.gelu(x),
        tinygrad=lambda tensor, x: x * 0.5 * (1 + (x * 0.5**0.5).erf()),
    ),
    "softrelu": _unary(
        "softrelu",
        mxnet=lambda nd, x: nd.Activation(x, act_type="softrelu"),
        torch=lambda torch, x: torch.nn.functional.softplus(x),
        tinygrad=lambda tensor, x: x.softplus(),
    ),
    "power 2.5": Op("x ** 2.5", [POSITIVE], *3 * [lambda _, x: x**2.5]),
}


def _binary(what: str, function, *shapes: tuple[int, ...], values=normal) -> Op:
    inputs = [values(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    return Op(what, inputs, mxnet=function, torch=function, tinygrad=function)


def _positive(*shape: int, seed: int):
    return uniform(0.5, 2, *shape, seed=seed)


def _broadcast(name: str, function):
    """MXNet's arrays broadcast through functions of their own."""
    return {
        "mxnet": lambda nd, x, y: getattr(nd, f"broadcast_{name}")(x, y),
        "torch": function,
        "tinygrad": function,
    }


BINARY = {
    "add": _binary("x + y", lambda _, x, y: x + y, (SIZE,), (SIZE,)),
    "multiply": _binary("x * y", lambda _, x, y: x * y, (SIZE,), (SIZE,)),
    "divide": _binary("x / y", lambda _, x, y: x / y, (SIZE,), (SIZE,), values=_positive),
    "power": _binary("x ** y", lambda _, x, y: x**y, (SIZE,), (SIZE,), values=_positive),
    "maximum": Op(
        "maximum(x, y)",
        [normal(SIZE), normal(SIZE, seed=1)],
        mxnet=lambda nd, x, y: nd.maximum(x, y),
        torch=lambda torch, x, y: torch.maximum(x, y),
        tinygrad=lambda tensor, x, y: x.maximum(y),
    ),
    "add row": Op(
        "x + row, 2048 x 2048 and 2048",
        [normal(ROWS, COLUMNS), normal(1, COLUMNS, seed=1)],
        **_broadcast("add", lambda _, x, y: x + y),
    ),
    "multiply column": Op(
        "x * column, 2048 x 2048 and 2048 x 1",
        [normal(ROWS, COLUMNS), normal(ROWS, 1, seed=1)],
        **_broadcast("mul", lambda _, x, y: x * y),
    ),
    "scale channels": Op(
        "x * scale, 32 x 64 x 56 x 56 and 1 x 64 x 1 x 1",
        [normal(32, 64, 56, 56), normal(1, 64, 1, 1, seed=1)],
        **_broadcast("mul", lambda _, x, y: x * y),
    ),
}
OTHERS = {
    "clip": Op(
        "clip(x, -1, 1)",
        [normal(SIZE)],
        mxnet=lambda nd, x: nd.clip(x, -1, 1),
        torch=lambda torch, x: torch.clamp(x, -1, 1),
        tinygrad=lambda tensor, x: x.clip(-1, 1),
    ),
    "where": Op(
        "where(c, x, y)",
        [normal(SIZE), normal(SIZE, seed=1)],
        constants=[uniform(0, 1, SIZE)],
        mxnet=lambda nd, x, y, c: nd.where(c > 0.5, x, y),
        torch=lambda torch, x, y, c: torch.where(c > 0.5, x, y),
        tinygrad=lambda tensor, x, y, c: (c > 0.5).where(x, y),
    ),
}

OPS = {**with_gradients(UNARY), **with_gradients(BINARY), **with_gradients(OTHERS)}
CASES = descriptions(OPS)
mxnet, torch, tinygrad = runners(OPS)
