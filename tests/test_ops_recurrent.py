"""RNN: against plain numpy on odd sizes, sequences of different lengths, clipping, both backwards.

What MXNet answers is in golden/cases/recurrent.py; here is what its CPU ignores or lacks.
"""

import numpy as np
import pytest

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import OperatorError
from clgrad.kernels import recurrent
from clgrad.test_utils import gradcheck, gradgradcheck

COVERS = {
    "RNN": ("_rnn_layer", "_rnn_cell", "_rnn_cell_grad", "_rnn_steps", "_rnn_steps_grad", "_unpack"),
}

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}
MODES = list(GATES)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def cell(mode, x, p, h, c, clip):
    """One step in numpy, from the two parts of the gates."""
    gates = [np.split(part, GATES[mode], axis=1) for part in (x, p)]
    if mode == "gru":
        (xr, xz, xn), (pr, pz, pn) = gates
        r, z = sigmoid(xr + pr), sigmoid(xz + pz)
        n = np.tanh(xn + r * pn)
        return (1 - z) * n + z * h, c
    a = [u + v for u, v in zip(*gates, strict=True)]
    if mode != "lstm":
        return (np.maximum(a[0], 0) if mode == "rnn_relu" else np.tanh(a[0])), c
    c = sigmoid(a[1]) * c + sigmoid(a[0]) * np.tanh(a[2])
    c = c if clip is None else np.clip(c, *clip)
    return sigmoid(a[3]) * np.tanh(c), c


class Problem:
    """An RNN with random arrays, and what it gives by plain numpy in float64."""

    def __init__(
        self, rng, mode, steps=5, batch=3, inputs=4, size=7, layers=1, directions=1, projected=None
    ):
        self.mode, self.layers, self.directions, self.projected = mode, layers, directions, projected
        self.size, width, state = size, GATES[mode] * size, projected or size
        self.shapes = []
        for layer in range(layers):
            wide = state * directions if layer else inputs
            one = [(width, wide), (width, state)] + ([(projected, size)] if projected else [])
            self.shapes += one * directions
        self.shapes += [(width,)] * (2 * layers * directions)
        runs = layers * directions
        sizes = [(steps, batch, inputs), (sum(map(np.prod, self.shapes)),), (runs, batch, state)]
        sizes += [(runs, batch, size)] * (mode == "lstm")
        self.arrays = [rng.uniform(-1, 1, s) for s in sizes]
        self.attributes = {"mode": mode, "state_size": size, "num_layers": layers, "state_outputs": True}
        if directions == 2:
            self.attributes["bidirectional"] = True
        if projected:
            self.attributes["projection_size"] = projected

    def __call__(self, *arrays, **attributes):
        return nd.RNN(*arrays, **self.attributes, **attributes)

    def device_arrays(self, dtype="float32"):
        return [nd.array(a, dtype=dtype) for a in self.arrays]

    def expected(self, lengths=None, clip=None):
        x, packed, *states = self.arrays
        ends = np.cumsum([int(np.prod(s)) for s in self.shapes])[:-1]
        parts = [p.reshape(s) for p, s in zip(np.split(packed, ends), self.shapes, strict=True)]
        runs = self.layers * self.directions
        weights, biases = parts[: -2 * runs], parts[-2 * runs :]
        each, last_h, last_c, y = len(weights) // runs, [], [], x
        for run in range(runs):
            if run % self.directions == 0:
                x, y = y, []
            own = *weights[run * each : (run + 1) * each], *biases[2 * run : 2 * run + 2]
            reverse = run % self.directions == 1
            hs, h, c = self.layer(x, *own, states, run, reverse, lengths, clip)
            y.append(hs)
            last_h.append(h)
            last_c.append(c)
            if len(y) == self.directions:
                y = np.concatenate(y, axis=2)
        return [y, np.stack(last_h)] + ([np.stack(last_c)] if self.mode == "lstm" else [])

    def layer(self, x, w_x, w_h, *rest):
        (*projection, b_x, b_h, states, run, reverse, lengths, clip) = rest
        h, c = states[0][run], states[1][run] if self.mode == "lstm" else None
        hs = np.zeros((*x.shape[:2], h.shape[1]))
        for t in range(len(x))[:: -1 if reverse else 1]:
            after, cell_after = cell(self.mode, x[t] @ w_x.T + b_x, h @ w_h.T + b_h, h, c, clip)
            after = after @ projection[0].T if projection else after
            valid = np.full((x.shape[1], 1), True) if lengths is None else (t < lengths)[:, None]
            h, c = np.where(valid, after, h), None if c is None else np.where(valid, cell_after, c)
            hs[t] = np.where(valid, h, 0)
        return hs, h, c


@pytest.fixture
def step_by_step(monkeypatch):
    """As on GPUs: launches for each step."""
    monkeypatch.setattr(recurrent, "takes", lambda device, layer: False)


def close(results, expected, tolerance=2e-5):
    assert len(results) == len(expected)
    for actual, wanted in zip(results, expected, strict=True):
        assert actual.shape == wanted.shape
        np.testing.assert_allclose(actual.asnumpy(), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("lengths", [None, [5, 1, 3], [0, 5, 9]])
def test_against_numpy(mode, layers, directions, lengths, rng):
    """Also of length 0, which leaves the states as they were, and beyond the data."""
    problem = Problem(rng, mode, layers=layers, directions=directions)
    arrays, attributes = problem.device_arrays(), {}
    if lengths is not None:
        arrays.append(nd.array(lengths, dtype="int32"))
        attributes["use_sequence_length"] = True
    lengths = None if lengths is None else np.array(lengths)
    close(problem(*arrays, **attributes), problem.expected(lengths))


@pytest.mark.parametrize("lengths", [None, [2, 4, 0]])
def test_projection(lengths, rng):
    problem = Problem(rng, "lstm", projected=3, layers=2, directions=2)
    attributes = (
        {} if lengths is None else {"use_sequence_length": True, "sequence_length": nd.array(lengths)}
    )
    expected = problem.expected(None if lengths is None else np.array(lengths))
    close(problem(*problem.device_arrays(), **attributes), expected)


@pytest.mark.parametrize("mode", ["lstm", "gru"])
def test_what_lies_behind_a_sequence_does_not_matter(mode, rng):
    """Not even NaN there, nor to the gradients of what lies within."""
    problem = Problem(rng, mode, directions=2)
    lengths = nd.array([5, 2, 3])
    found = []
    for padding in (0.0, np.nan):
        arrays = problem.device_arrays()
        arrays[0][2:, 1] = padding
        for a in arrays[:1] + arrays[2:]:
            a.attach_grad()
        with autograd.record():
            results = problem(*arrays, use_sequence_length=True, sequence_length=lengths)
        autograd.backward(results)
        found.append([*results, *(a.grad for a in arrays[:1] + arrays[2:])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
    assert not found[0][-2 - (mode == "lstm")].asnumpy()[2:, 1].any()


CLIP = {"lstm_state_clip_min": -0.25, "lstm_state_clip_max": 0.125}


def test_clip(rng):
    problem = Problem(rng, "lstm", layers=2)
    close(problem(*problem.device_arrays(), **CLIP), problem.expected(clip=(-0.25, 0.125)))


def test_clip_stops_nan_where_asked(rng):
    problem = Problem(rng, "lstm")
    arrays = problem.device_arrays()
    arrays[3][0, 1] = np.nan
    assert np.isnan(problem(*arrays, **CLIP)[2].asnumpy()).any()
    *_, cells = problem(*arrays, **CLIP, lstm_state_clip_nan=True)
    assert (np.abs(cells.asnumpy()) <= 0.25).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masked", [False, True])
def test_fast_backward_is_the_recorded_one(mode, masked, rng):
    """The fused kernels against the rule of recorded ops, with gradients of all outputs."""
    problem = Problem(rng, mode, layers=2, directions=2)
    attributes = CLIP.copy() if mode == "lstm" else {}
    if masked:
        attributes |= {"use_sequence_length": True, "sequence_length": nd.array([3, 5, 1])}
    arrays = problem.device_arrays()
    for a in arrays:
        a.attach_grad()
    found = []
    for create_graph in (False, True):
        with autograd.record():
            results = problem(*arrays, **attributes)
            loss = sum((y * (i + 1) * nd.sin(y)).sum() for i, y in enumerate(results))
        found.append(autograd.grad(loss, arrays, create_graph=create_graph))
    for fast, recorded in zip(*found, strict=True):
        np.testing.assert_allclose(fast.asnumpy(), recorded.asnumpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("mode", MODES)
def test_step_by_step(mode, rng):
    """Values, and the fast backward against the recorded one, where one launch does not take all steps."""
    test_against_numpy(mode, 2, 2, [0, 5, 9], rng)
    test_fast_backward_is_the_recorded_one(mode, True, rng)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("batch", "size"), [(29, 37), (64, 64)])
def test_all_steps_at_once(mode, masked, batch, size, rng, monkeypatch):
    """Tiles of several heights, columns that no vector fills, and whole ones: as launches for each step."""
    problem = Problem(rng, mode, steps=4, batch=batch, size=size, directions=2)
    problem.arrays[1] *= 0.3
    attributes = CLIP.copy() if mode == "lstm" else {}
    if masked:
        attributes |= {"use_sequence_length": True, "sequence_length": nd.array(np.arange(batch) % 6)}
    found = []
    for at_once in (True, False):
        monkeypatch.setattr(recurrent, "takes", lambda device, layer, answer=at_once: answer)
        arrays = problem.device_arrays()
        for a in arrays:
            a.attach_grad()
        with autograd.record():
            results = problem(*arrays, **attributes)
            loss = sum((y * nd.sin(y * (i + 1))).sum() for i, y in enumerate(results))
        loss.backward()
        found.append([r.asnumpy() for r in results] + [a.grad.asnumpy() for a in arrays])
    for fast, expected in zip(*found, strict=True):
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(fast, expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("mode", "options", "attributes"),
    [
        ("lstm", {"projected": 2}, {}),
        ("lstm", {"projected": 2}, {"use_sequence_length": True}),
        ("lstm", {}, {"use_sequence_length": True}),
        ("gru", {}, {"use_sequence_length": True}),
        ("rnn_tanh", {}, {"use_sequence_length": True}),
        ("lstm", {}, {"lstm_state_clip_min": -0.3, "lstm_state_clip_max": 0.3}),
    ],
)
def test_gradients_to_second_order(mode, options, attributes):
    rng = np.random.default_rng(5)  # nothing near a limit of the clip, where there is no derivative
    problem = Problem(rng, mode, steps=2, batch=2, inputs=1, size=2, **options)

    def function(*arrays):
        given = {"sequence_length": nd.array([2, 1])} if "use_sequence_length" in attributes else {}
        return problem(*arrays, **attributes, **given)

    gradcheck(function, problem.arrays)
    gradgradcheck(function, problem.arrays, directions=2)


def test_gradients_of_some_outputs_and_arrays(rng):
    """Outputs that nothing came from count as 0; constants get no gradient."""
    problem = Problem(rng, "lstm", layers=2)
    arrays = problem.device_arrays()
    for a in arrays:
        a.attach_grad()
    found = []
    for others in ((), (0,), (1,), (0, 1)):
        with autograd.record():
            results = problem(*arrays)
            loss = sum([(results[i] * 0).sum() for i in others], results[2].sum())
        loss.backward()
        found.append([a.grad.asnumpy() for a in arrays])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    constant = problem.device_arrays()
    constant[1].attach_grad()
    with autograd.record():
        y = problem(*constant)[2]
    y.backward()
    np.testing.assert_array_equal(constant[1].grad.asnumpy(), found[0][1])


def test_runs_repeat_to_the_bit(rng):
    problem = Problem(rng, "gru", steps=9, batch=5, size=33, directions=2)
    found = []
    for _ in range(2):
        arrays = problem.device_arrays()
        for a in arrays:
            a.attach_grad()
        with autograd.record():
            y = problem(*arrays)[0]
        y.backward()
        found.append([y.asnumpy(), *(a.grad.asnumpy() for a in arrays)])
    for a, b in zip(*found, strict=True):
        assert a.tobytes() == b.tobytes()


def test_dropout_between_layers(rng):
    """In training only, and not behind the last layer."""
    problem = Problem(rng, "lstm", layers=2, size=32)
    arrays = problem.device_arrays()
    close(problem(*arrays, p=0.5), problem.expected())
    with autograd.train_mode():
        mx.random.seed(3)
        first, again = problem(*arrays, p=0.5)[0].asnumpy(), problem(*arrays, p=0.5)[0].asnumpy()
        single = Problem(rng, "lstm")
        close(single(*single.device_arrays(), p=0.5), single.expected())
    assert not np.allclose(first, again)
    assert (first != 0).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (3, 0), (1, 1)])
def test_nothing_or_one(mode, steps, batch, rng):
    problem = Problem(rng, mode, steps=steps, batch=batch, directions=2)
    arrays = problem.device_arrays()
    for a in arrays:
        a.attach_grad()
    with autograd.record():
        results = problem(*arrays)
    close(results, problem.expected())
    autograd.backward(results)
    for a in arrays:
        assert a.grad.shape == a.shape
        assert np.isfinite(a.grad.asnumpy()).all()
    if steps == 0:
        np.testing.assert_array_equal(arrays[2].grad.asnumpy(), 1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_dtypes(dtype, rng):
    problem = Problem(rng, "lstm", size=16)
    arrays = problem.device_arrays(dtype)
    problem.arrays = [a.asnumpy().astype(np.float64) for a in arrays]
    results = problem(*arrays)
    assert {str(r._view.dtype) for r in results} == {dtype}
    for actual, expected in zip(results, problem.expected(), strict=True):
        tolerance = 1e-2 if dtype == "float16" else 6e-2
        np.testing.assert_allclose(actual.asnumpy().astype(np.float64), expected, atol=tolerance)


def test_length_may_be_the_fourth_array_where_there_is_no_cell(rng):
    problem = Problem(rng, "gru")
    arrays = [*problem.device_arrays(), nd.array([1, 2, 3])]
    close(problem(*arrays, use_sequence_length=True), problem.expected(np.array([1, 2, 3])))


@pytest.mark.parametrize(
    ("mode", "changes", "message"),
    [
        ("gru", {"projection_size": 2}, "projection_size is 2; accepted: a size, for an lstm only"),
        ("lstm", {"lstm_state_clip_min": 0}, "both or neither"),
        ("gru", {"state_size": 0}, "state_size is 0"),
        ("gru", {"state_size": None}, "state_size is None"),
        ("gru", {"use_sequence_length": True}, "sequence_length is None"),
        ("gru", {"p": 2}, "p is 2; accepted: 0 <= p < 1"),
        ("gru", {"state_cell": nd.ones}, "state_cell is of shape"),
        ("rnn_relu", {"parameters": nd.ones}, r"parameters is float32 \(1,\); accepted: float32 \(91,\)"),
    ],
)
def test_errors_name_the_argument(mode, changes, message, rng):
    problem = Problem(rng, mode)
    names = ["data", "parameters", "state", "state_cell"]
    given = dict(zip(names, problem.device_arrays(), strict=False)) | problem.attributes
    given |= {k: v((1,)) if callable(v) else v for k, v in changes.items()}
    with pytest.raises(OperatorError, match=f"RNN: .*{message}"):
        nd.RNN(**given)
