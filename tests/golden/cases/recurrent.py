"""Recurrent layers: RNN."""

from golden.case import REAL, Case, uniform

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}

#: Steps, batch, inputs, size: odd, and no two alike.
STEPS, BATCH, INPUTS, SIZE = 3, 2, 1, 2


def count(mode: str, layers: int, directions: int, projected: int | None = None) -> int:
    """Number of parameters."""
    total, width, state = 0, GATES[mode] * SIZE, projected or SIZE
    for layer in range(layers):
        inputs = state * directions if layer else INPUTS
        total += directions * (width * (inputs + state + 2) + SIZE * (projected or 0))
    return total


def rnn(mode: str, tag: str, layers=1, directions=1, projected=None, arrays=(), error=False, **options):
    """A case of RNN, with its arrays."""
    state = (layers * directions, BATCH)
    given = [
        uniform(STEPS, BATCH, INPUTS),
        uniform(count(mode, layers, directions, projected), low=-1, high=1),
        uniform(*state, projected or SIZE, low=-1, high=1),
    ]
    if mode == "lstm":
        given.append(uniform(*state, SIZE, low=-1, high=1))
    attributes = {"mode": mode, "state_size": SIZE, "num_layers": layers}
    if directions == 2:
        attributes["bidirectional"] = True
    if projected:
        attributes["projection_size"] = projected
    own = {key: options.pop(key) for key in ("sweep", "dtypes", "train", "orders") if key in options}
    return Case("RNN", (*given, *arrays), attributes | options, f"{mode} {tag}", error=error, **own)


CASES = []
for name in GATES:
    CASES += [
        rnn(name, "main", sweep=True, dtypes=REAL),
        rnn(name, "last states", state_outputs=True),
        rnn(name, "both directions", directions=2, state_outputs=True),
        rnn(name, "two layers", layers=2, state_outputs=True),
        rnn(name, "stacked both ways", layers=2, directions=2, state_outputs=True, orders=1),
        rnn(name, "dropout in prediction", layers=2, p=0.5, train=False, orders=1),
    ]
CASES += [
    rnn("lstm", "projection", projected=3, state_outputs=True, train=False, orders=0),
    rnn("lstm", "projection stacked", 2, 2, projected=1, state_outputs=True, train=False, orders=0),
]

DATA, STATE = uniform(3, 2, 1), uniform(1, 2, 2)
TANH = {"mode": "rnn_tanh", "state_size": 2, "num_layers": 1}
for case_tag, arrays, changes in (
    ("parameters", (DATA, uniform(9), STATE), {}),
    ("parameters matrix", (DATA, uniform(2, 5), STATE), {}),
    ("state", (DATA, uniform(10), uniform(1, 1, 2)), {}),
    ("state axes", (DATA, uniform(10), uniform(2, 2)), {}),
    ("data axes", (uniform(3, 2), uniform(10), STATE), {}),
    ("mode", (DATA, uniform(10), STATE), {"mode": "tanh"}),
    ("p", (DATA, uniform(10), STATE), {"p": -1.0}),
    ("layers", (DATA, uniform(10), STATE), {"num_layers": 0}),
    ("no state", (DATA, uniform(10)), {}),
    ("no cell", (DATA, uniform(40), STATE), {"mode": "lstm"}),
):
    CASES.append(Case("RNN", arrays, TANH | changes, f"bad {case_tag}", error=True))
