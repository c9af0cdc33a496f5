"""Files of parameters: layouts that MXNet reads, shared parameters, dtypes, and files that do not fit."""

import numpy as np
import pytest
from gluon_harness import small_net, two_contexts, values

import clgrad as mx
from clgrad import autograd, nd
from clgrad.errors import MXNetError, OperatorError
from clgrad.gluon import nn


@pytest.mark.once
def test_mxnets_older_names_for_files(tmp_path):
    first, second = small_net(), small_net()
    first.initialize()
    first(nd.ones((4, 3)))
    with pytest.warns(UserWarning, match="call save_parameters"):
        first.save_params(tmp_path / "net")
    assert list(nd.load(tmp_path / "net")) == [
        "dense0_weight",
        "dense0_bias",
        "dense1_weight",
        "dense1_bias",
    ]
    with pytest.warns(UserWarning, match="call load_parameters"):
        second.load_params(tmp_path / "net")
    for a, b in zip(values(first).values(), values(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.once
@pytest.mark.parametrize("how", ["block", "dictionary", "prefix"])
def test_parameters_go_through_files(how, tmp_path):
    first, second = small_net(prefix="net_"), small_net(prefix="net_" if how == "dictionary" else None)
    first.initialize(mx.init.Uniform(1))
    first(nd.ones((4, 3)))
    path = tmp_path / "net.params"
    if how == "block":
        first.save_parameters(path)
        second.load_parameters(path, ctx=mx.current_context())
    elif how == "dictionary":
        first.collect_params().save(path)
        second.collect_params().load(path)
    else:
        first.collect_params().save(path, strip_prefix="net_")
        second.load_parameters(path)
    for a, b in zip(values(first).values(), values(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert second(nd.ones((4, 3))).shape == (4, 2)


@pytest.mark.once
def test_shared_parameters_in_files(tmp_path):
    net = nn.HybridSequential()
    net.add(nn.Dense(4, in_units=4))
    net.add(nn.Dense(4, in_units=4, params=net[0].params))
    net.initialize()
    net.save_parameters(tmp_path / "all")
    net.save_parameters(tmp_path / "once", deduplicate=True)
    assert list(nd.load(tmp_path / "all")) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert list(nd.load(tmp_path / "once")) == ["1.weight", "1.bias"]
    for name in ("all", "once"):
        net.load_parameters(tmp_path / name)


@pytest.mark.once
def test_dtypes_of_files(tmp_path):
    net, half = small_net(), small_net()
    half.cast("float16")
    half.initialize()
    half(nd.ones((4, 3), dtype="float16"))
    half.save_parameters(tmp_path / "half")
    net.initialize()
    with pytest.raises(MXNetError, match="dtype float32, and the saved array float16; pass cast_dtype"):
        net.load_parameters(tmp_path / "half")
    with autograd.record():
        net.load_parameters(tmp_path / "half", cast_dtype=True)
    assert net[0].weight.dtype == np.float32
    np.testing.assert_array_equal(net[0].weight.data().asnumpy(), half[0].weight.data().asnumpy())
    net.load_parameters(tmp_path / "half", cast_dtype=True, dtype_source="saved")
    assert net[0].weight.dtype == net[0].weight.grad().dtype == np.float16
    with pytest.raises(OperatorError, match="dtype_source is 'file'; accepted: current, saved"):
        net.load_parameters(tmp_path / "half", dtype_source="file")


@pytest.mark.once
def test_files_that_do_not_fit_change_nothing(tmp_path):
    net = small_net()
    net.initialize()
    net(nd.ones((4, 3)))
    net.save_parameters(tmp_path / "good")
    good, before = nd.load(tmp_path / "good"), values(net)
    changed = {name: array + 1 for name, array in good.items()}

    def refused(arrays, match, **options):
        nd.save(tmp_path / "bad", arrays)
        with pytest.raises(MXNetError, match=match):
            net.load_parameters(tmp_path / "bad", **options)
        for name, host in values(net).items():
            np.testing.assert_array_equal(host, before[name])

    missing = {name: a for name, a in changed.items() if name != "1.bias"}
    refused(missing, r"lacks 1.bias; it holds 0.weight.*allow_missing=True")
    refused(changed | {"2.weight": nd.ones(1)}, "holds 2.weight, which is not here.*ignore_extra=True")
    refused(changed | {"1.bias": nd.ones(3)}, r"has the shape \(2,\), and the saved array \(3,\)")
    refused(list(changed.values()), "its 4 arrays have no names")
    refused({}, "lacks 0.weight, 0.bias, 1.weight, 1.bias")
    content = (tmp_path / "good").read_bytes()
    for size in (0, 8, 40, len(content) // 2, len(content) - 1):
        (tmp_path / "bad").write_bytes(content[:size])
        with pytest.raises(MXNetError, match="at byte"):
            net.load_parameters(tmp_path / "bad")
    with pytest.raises(FileNotFoundError):
        net.load_parameters(tmp_path / "nowhere")
    for name, host in values(net).items():
        np.testing.assert_array_equal(host, before[name])

    nd.save(tmp_path / "bad", missing | {"2.weight": nd.ones(1)})
    net.load_parameters(tmp_path / "bad", allow_missing=True, ignore_extra=True)
    after = values(net)
    name = net[1].bias.name
    np.testing.assert_array_equal(after[name], before[name])
    assert all((after[n] == before[n] + 1).all() for n in after if n != name)


@pytest.mark.once
def test_loading_elsewhere_than_initialised(tmp_path):
    first, second = two_contexts()
    net = small_net()
    net.initialize(ctx=first)
    net(nd.ones((4, 3), ctx=first))
    net.save_parameters(tmp_path / "net")
    with pytest.raises(MXNetError, match="because it was initialised on"):
        net.load_parameters(tmp_path / "net", ctx=second)
    other = small_net()
    other.load_parameters(tmp_path / "net", ctx=[first, second])
    assert other[0].weight.list_ctx() == [first, second]
