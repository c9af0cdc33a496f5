"""All steps of a recurrent layer in one launch: what is written, and what is not."""

import numpy as np
import plan_harness
import pytest

from clgrad.kernels import recurrent
from clgrad.ops import cells

STEPS = 3


def layer(mode, batch, size, masked, reverse):
    mask = np.dtype("bool") if masked else None
    counts = cells.GATES[mode], cells.ACTIVATED[mode]
    return recurrent.Layer(STEPS, batch, size, *counts, np.dtype("float32"), mask, mode == "lstm", reverse)


def tanh_forward(x, p, h, c, mask):
    gates = cells.activated("rnn_tanh", x, p)
    return {"gates": gates, "hs": cells.forward("rnn_tanh", gates, h, c, mask, None)}


def tanh_backward(gates, h, c, mask, dh, dc):
    dx, _, kept, _ = cells.backward("rnn_tanh", gates, h, c, mask, dh, dc, None)
    return {"dx": dx} | ({} if kept is None else {"kept": [kept]})


@pytest.mark.parametrize(("batch", "size"), [(1, 2), (7, 16), (27, 50)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_arrays_at_odd_places(batch, size, masked, reverse, rng):
    """Nothing is written beside the results, which are those of numpy."""
    device = plan_harness.device_of_shape("cpu")
    shapes = [(STEPS, batch, size), (size, size), (size,), (batch, size)]
    arrays = [rng.normal(size=shape).astype("float32") / 2 for shape in shapes]
    x, weight, bias, state = arrays
    given = layer("rnn_tanh", batch, size, masked, reverse)
    mask = rng.uniform(size=(STEPS, batch, 1)) < 0.5 if masked else np.ones((STEPS, batch, 1), bool)
    plan = recurrent.plan_forward(device, "layer", given, tanh_forward)
    hs, gates = plan_harness.run(plan, arrays + [mask] * masked)
    order = range(STEPS)[:: -1 if reverse else 1]
    before, h = np.empty_like(hs), state
    for t in order:
        before[t] = h
        h = np.where(mask[t], np.tanh(x[t] + h @ weight.T + bias), h)
        np.testing.assert_allclose(hs[t], h, rtol=1e-4, atol=1e-5)
    head = rng.normal(size=hs.shape).astype("float32")
    plan = recurrent.plan_backward(device, "grad", given, ("d_hs",), False, tanh_backward)
    dx, dh = plan_harness.run(plan, [gates, weight, hs, state] + [mask] * masked + [head])
    through = np.zeros_like(state)
    for t in order[::-1]:
        through = through + head[t]
        wanted = np.where(mask[t], through * (1 - gates[t] ** 2), 0)
        np.testing.assert_allclose(dx[t], wanted, rtol=1e-3, atol=1e-4)
        through = wanted @ weight + np.where(mask[t], 0, through)
    np.testing.assert_allclose(dh, through, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(gates, np.tanh(x + before @ weight.T + bias), rtol=1e-4, atol=1e-5)


@pytest.mark.once
def test_who_is_taken():
    """CPUs, what is computed in its own dtype, and batches that occupy the cores, or small work."""
    cpu, gpu = (plan_harness.device_of_shape(kind) for kind in ("cpu", "gpu"))
    given = layer("lstm", 64 * cpu.capabilities.compute_units, 256, False, False)
    assert recurrent.takes(cpu, given)
    assert not recurrent.takes(gpu, given)
    wide = layer("lstm", 1, 2048, False, False)
    assert recurrent.takes(cpu, wide) == (cpu.capabilities.compute_units == 1)
