"""Graphs made better: the same results in fewer launches and less memory."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import clgrad as mx
from clgrad import autograd, nd
from clgrad.graph import arena
from clgrad.graph.ir import launches
from clgrad.graph.lifetimes import peak

N = 6
UNARY = (nd.relu, nd.sigmoid, nd.tanh, nd.square, nd.abs, nd.softsign)
BINARY = (lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, nd.maximum)
KINDS = (
    *("unary", "binary", "scaled", "row", "column", "sum", "mean", "softmax", "dot", "dot of transposed"),
    *("transposed", "reshaped", "dropout", "in place", "detached"),
)

steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
    min_size=2,
    max_size=10,
)


def program(kinds, w, row, state):
    """A step of training with these ops; some results are handed out, and arrays written to on the way."""

    def applied(kind, a, b, k, rate):
        if kind == "unary":
            return UNARY[k % len(UNARY)](a)
        if kind == "binary":
            return BINARY[k % len(BINARY)](a, b)
        if kind == "in place":
            with autograd.pause():
                state[:] = state * 0.5 + a * 0.1
            return a + b
        return {
            "scaled": lambda: a * rate + k,
            "row": lambda: a * row,
            "column": lambda: a - b.mean(axis=1, keepdims=True),
            "sum": lambda: a + 0.1 * b.sum(axis=k % 2, keepdims=True),
            "mean": lambda: a * b.mean(),
            "softmax": lambda: nd.softmax(a),
            "dot": lambda: nd.tanh(nd.dot(a, w)),
            "dot of transposed": lambda: nd.tanh(nd.dot(a, b.T, transpose_a=bool(k % 2))),
            "transposed": lambda: nd.dot(a, b).T * 0.1,
            "reshaped": lambda: ((a.reshape((-1,)) + 1) * 2).reshape((N, N)),
            "dropout": lambda: nd.Dropout(a, 0.3),
            "detached": lambda: a * b.detach(),
        }[kind]()

    def step(x, rate):
        with autograd.record():
            values = [x, nd.dot(x, w), x + row]
            for kind, i, j, k in kinds:
                made = applied(kind, values[i % len(values)], values[j % len(values)], k, rate)
                values.append(nd.clip(made, -3, 3))
            chosen = values[kinds[0][1] % len(values)]
            loss = (nd.tanh(values[-1]) + chosen + values[1] + values[2]).mean()
        loss.backward()
        w[:] = w - rate * w.grad
        nd.sgd_update(row, row.grad, lr=rate, out=row)
        return loss, values[-1], chosen * 2

    return step


def trained(kinds, seed, request, fuse):
    rng = np.random.default_rng(seed)
    w, row, state, x = (nd.array(rng.uniform(-1, 1, shape)) for shape in ((N, N), (1, N), (N, N), (N, N)))
    w.attach_grad(request)
    row.attach_grad()
    mx.random.seed(seed)
    step = program(kinds, w, row, state)
    step = step if fuse is None else mx.capture(step, fuse=fuse)
    found = []
    for number in range(5):
        results = step(x + number, 0.1 / (number + 1))
        found += [a.asnumpy() for a in (*results, w, w.grad, row, row.grad, state)]
    assert fuse is None or step.graphs()
    return found


@hypothesis.settings(max_examples=12)
@hypothesis.given(kinds=steps, seed=st.integers(0, 1 << 20), request=st.sampled_from(["write", "add"]))
def test_random_programs(kinds, seed, request):
    """Replayed as they are, to the last bit; fused, within rounding."""
    plain = trained(kinds, seed, request, None)
    for a, b in zip(plain, trained(kinds, seed, request, fuse=False), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(plain, trained(kinds, seed, request, fuse=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def graphs(function, *arguments):
    """What a function does, before and after; its results are checked on the way."""
    captured, plain = mx.capture(function), mx.capture(function, fuse=False)
    for _ in range(4):
        ours, expected = captured(*arguments), plain(*arguments)
        np.testing.assert_allclose(ours.asnumpy(), expected.asnumpy(), rtol=1e-5, atol=1e-6)
    return captured.graphs()[0]


@pytest.fixture
def arrays(rng):
    def make(*shapes):
        return [nd.array(rng.standard_normal(s)) for s in shapes]

    return make


@pytest.mark.parametrize(
    ("what", "function", "shapes"),
    [
        ("elementwise ops", lambda x, y: nd.exp(x * y) + y * 2, [(5, 7), (5, 7)]),
        ("rows and columns", lambda x, y: nd.tanh(x - y) * y, [(5, 7), (5, 1)]),
        ("another shape", lambda x, y: (x + 1).reshape((35,)) * y, [(5, 7), (35,)]),
        ("sums of formulas", lambda x, y: nd.sum(nd.square(x - y), axis=1), [(5, 7), (1, 7)]),
        ("products and what follows", lambda x, y: nd.relu(nd.dot(x, y)) * 2, [(16, 16), (16, 16)]),
        ("what is there twice", lambda x, y: nd.dot(x, y) + nd.dot(x, y) * 0, [(16, 16), (16, 16)]),
        ("what nobody reads", lambda x, y: [nd.dot(x, y), x * 2][1], [(16, 16), (16, 16)]),
        ("transposed operands", lambda x, y: nd.dot(x.T, y.T), [(16, 9), (5, 16)]),
    ],
)
def test_launches_are_saved(arrays, what, function, shapes):
    before, after = graphs(function, *arrays(*shapes))
    assert launches(after) == 1 < launches(before)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_places_of_extrema_of_formulas(rng, dtype):
    """Whose position is an operand as well, behind those of the formula."""

    def f(x, y):
        return nd.argmax(x + y, axis=1), nd.argmin(x * y - x, axis=0)

    captured = mx.capture(f)
    for _ in range(4):
        x, y = (nd.array(rng.integers(0, 99, (5, 37)), dtype=dtype) for _ in range(2))
        for ours, plain in zip(captured(x, y), f(x, y), strict=True):
            np.testing.assert_array_equal(ours.asnumpy(), plain.asnumpy())
    assert launches(captured.graphs()[0][1]) == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats_are_rounded_as_if_they_were_stored(rng, dtype):
    """Bit by bit: halves between two numbers, what overflows, what is too small for the exponent."""
    bits = rng.integers(0, 1 << 32, 20_003, dtype=np.uint32)
    halves = (np.arange(1 << 15, dtype=np.uint32) << 13) + 0x33001000  # from 2^-25 on
    edges = [
        0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        65519.99,
        65520,
        1e38,
        2**-14,
        2**-24,
        2**-25,
        3 * 2**-25,
        1e-40,
    ]
    x = nd.array(np.concatenate([bits.view("float32"), halves.view("float32"), np.float32(edges)]))
    captured = mx.capture(lambda x: (x.astype(dtype).astype("float32"), (x.astype(dtype) > 1).sum()))
    plain = mx.capture(
        lambda x: (x.astype(dtype).astype("float32"), (x.astype(dtype) > 1).sum()), fuse=False
    )
    for _ in range(3):
        fused, stored = captured(x), plain(x)
    for a, b in zip(fused, stored, strict=True):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
        signs = [np.signbit(np.nan_to_num(r.asnumpy(), nan=1)) for r in (a, b)]
        np.testing.assert_array_equal(*signs)
    ((before, after),) = captured.graphs()
    assert launches(after) < launches(before)


def test_what_is_taken_by_index_is_no_part_of_reductions_and_products(rng):
    """Their kernels read at their own positions only."""
    places = nd.array([2, 0, 1, 1])

    def f(x):
        taken = nd.take(nd.dot(x, x.T), places, axis=0)
        return (
            nd.take(x * 2, places, axis=0).sum(axis=1),
            nd.square(x[:, :1] * nd.pick(x, places, keepdims=True)).mean(),
            taken * 2,
        )

    captured = mx.capture(f)
    for _ in range(4):
        x = nd.array(rng.standard_normal((4, 37)))
        for ours, plain in zip(captured(x), f(x), strict=True):
            np.testing.assert_allclose(ours.asnumpy(), plain.asnumpy(), rtol=1e-5, atol=1e-5)


def test_heads_of_attention_are_read_in_place(arrays):
    """Axes (batch, time, head, depth) in the order (batch, head, time, depth)."""

    def attention(q, k, v):
        q, k, v = (
            nd.transpose(a.reshape((2, 6, 3, 4)), (0, 2, 1, 3)).reshape((6, 6, 4)) for a in (q, k, v)
        )
        y = nd.batch_dot(nd.softmax(nd.batch_dot(q, k, transpose_b=True)), v)
        return nd.transpose(y.reshape((2, 3, 6, 4)), (0, 2, 1, 3))

    before, after = graphs(attention, *arrays(*[(2, 6, 12)] * 3))
    assert (launches(before), launches(after)) == (7, 3)


def test_gradients_are_made_where_they_belong(arrays):
    x, w = arrays((4, 8), (8, 3))
    w.attach_grad()

    def step(x):
        with autograd.record():
            loss = nd.dot(x, w).sum()
        loss.backward()
        return loss

    before, after = graphs(step, x)
    assert [i.name for i in before.instructions].count("copy") == 1
    assert "copy" not in [i.name for i in after.instructions]


@pytest.mark.parametrize(("name", "left"), [("sgd_mom_update", 1), ("w[:] = w - rate g", 2)])
def test_steps_of_parameters_are_grouped(rng, name, left):
    """Of any sizes, with numbers that they share, that change, and that each has of its own."""
    shapes = [(3, 4), (7,), (2, 5, 9), (7,), (1, 0), (600, 60)]
    start = [rng.standard_normal((3, *shape)).astype("float32") for shape in shapes]

    def run(wrap):
        parameters = [[nd.array(part) for part in arrays] for arrays in start]

        def step(rate):
            for k, (w, g, m) in enumerate(parameters):
                if name == "sgd_mom_update":
                    nd.sgd_mom_update(w, g, m, lr=rate, momentum=0.9, wd=0.01 * k, out=w)
                else:
                    w[:] = w - rate * g

        step = wrap(step)
        for number in range(5):
            step(1.0 / (number + 1))
        return [a.asnumpy() for arrays in parameters for a in arrays], step

    plain, _ = run(lambda f: f)
    fused, step = run(mx.capture)
    ((before, after),) = step.graphs()
    assert launches(before) >= 5
    assert launches(after) == left
    for a, b in zip(plain, fused, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_steps_that_read_each_other_stay_in_order(rng):
    """Those of which one reads what another has written, or overwrites what it reads."""

    def f(x, y, z):
        nd.sgd_update(x, y, lr=0.5, out=x)
        nd.sgd_update(z, x.sum(axis=0), lr=0.5, out=z)
        nd.sgd_update(y, x, lr=0.5, out=y)
        return x + 0, y + 0, z + 0

    def calls():
        return [[nd.array(rng.standard_normal(s)) for s in ((4, 3), (4, 3), (3,))] for _ in range(4)]

    captured = mx.capture(f)
    for arrays in calls():
        copies = [a.copy() for a in arrays]
        for a, b in zip(f(*arrays), captured(*copies), strict=True):
            np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-6)
    assert captured.graphs()


def test_memory_is_shared_by_what_is_not_needed_at_once(arrays):
    def deep(x):
        for _ in range(12):
            x = nd.softmax(nd.dot(x, x))
        return x

    before, _ = graphs(deep, *arrays((16, 16)))
    assert peak(before) == 2 * 16 * 16 * 4


def test_elementwise_results_take_over_the_room_of_what_they_read(arrays):
    def chain(x):
        for _ in range(5):
            x = nd.tanh(x) + 1
        return x.sum()

    before, _ = graphs(chain, *arrays((16, 16)))
    assert peak(before) == 16 * 16 * 4


@hypothesis.given(
    st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 20), st.integers(0, 20)), max_size=30),
    st.sampled_from([1024, 1 << 20]),
)
@pytest.mark.once
def test_places_do_not_overlap(members, largest):
    lives = [arena.Life(size, min(a, b), max(a, b)) for size, a, b in members]
    places, sizes = arena.plan(lives, largest)
    for i, (one, mine) in enumerate(zip(lives, places, strict=True)):
        assert mine.start % arena.ALIGNMENT == 0
        assert mine.start + one.nbytes <= sizes[mine.piece]
        for other, theirs in list(zip(lives, places, strict=True))[:i]:
            at_once = one.first <= other.last and other.first <= one.last
            if at_once and mine.piece == theirs.piece:
                assert mine.start + one.nbytes <= theirs.start or theirs.start + other.nbytes <= mine.start
    assert all(size <= max(largest, max(x.nbytes for x in lives) + arena.ALIGNMENT) for size in sizes)


def test_norms_are_folded_in_prediction(rng):
    """Into convolutions and dense layers, with and without biases; anew when their arrays change."""
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, in_channels=3), nn.BatchNorm(), nn.Activation("relu"))
    net.add(nn.Conv2D(16, 3, padding=1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
    net.add(nn.Conv2D(8, 3, strides=2, groups=2), nn.BatchNorm(scale=False))
    net.add(nn.Flatten(), nn.Dense(12), nn.BatchNorm(), nn.Dense(5))
    net.initialize(mx.init.Xavier())
    x = nd.array(rng.standard_normal((2, 3, 12, 12)))
    trainer = None
    captured = mx.capture(lambda x: net(x))
    for _ in range(2):
        with autograd.record():
            loss = (net(x) ** 2).mean()
        loss.backward()
        trainer = trainer or mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
        trainer.step(1)
        expected = net(x).asnumpy()
        for _ in range(4):
            np.testing.assert_allclose(captured(x).asnumpy(), expected, rtol=2e-4, atol=1e-5)
    _, after = captured.graphs()[0]
    assert not [i for i in after.instructions if i.label.startswith("standardize")]
    assert after.prelude.instructions


def test_a_norm_whose_product_is_of_what_was_written_since(rng):
    """The product cannot be made where the norm is."""
    w, state, start = (nd.array(rng.standard_normal((4, 4))) for _ in range(3))
    moments = [nd.array(rng.uniform(0.5, 2, 4)) for _ in range(4)]

    def f(x):
        y = nd.FullyConnected(state, w, no_bias=True, num_hidden=4)
        state[:] = state + x
        return nd.BatchNorm(y, *moments, fix_gamma=False, use_global_stats=True)

    captured, found = mx.capture(f), []
    for function in (f, captured):
        state[:] = start
        found.append([function(nd.ones((4, 4))).asnumpy() for _ in range(4)])
    assert captured.graphs()
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


def test_what_does_not_change_is_made_once(arrays, launches):
    w, x = arrays((16, 16), (16, 16))
    captured = mx.capture(lambda x: nd.dot(x, nd.softmax(w)))
    for _ in range(3):
        captured(x)
    names = []
    for change in (False, False, True, False):
        if change:
            w[:] = w * 2
        launches.clear()
        got = captured(x).asnumpy()
        names.append([name for name, _ in launches if "softmax" in name])
        np.testing.assert_allclose(got, nd.dot(x, nd.softmax(w)).asnumpy(), rtol=1e-5)
    assert [len(n) for n in names] == [0, 0, 1, 0]
