"""``mx.util`` and automatic names."""

import contextlib
import threading

import pytest

import clgrad as mx
from clgrad.errors import AbsentError, OperatorTypeError

pytestmark = pytest.mark.once


def test_numpy_interface_is_off():
    assert not mx.util.is_np_array()
    assert not mx.util.is_np_shape()
    assert mx.util.set_np_shape(True) is False
    mx.util.reset_np()
    mx.util.set_np(array=False)
    with mx.util.np_array(False), mx.util.np_shape(True):
        assert mx.nd.zeros((0, 3)).shape == (0, 3)
    for ask in (mx.util.set_np, lambda: mx.util.use_np(int), lambda: mx.util.use_np_array(int)):
        with pytest.raises(AbsentError, match="numpy interface is not part of clgrad"):
            ask()
    with pytest.raises(AbsentError), mx.util.np_array():
        pass

    @mx.util.use_np_shape
    def function():
        return 3

    assert function() == 3


def test_environment_and_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("CLGRAD_TEST_OF_UTIL", "1")
    mx.util.setenv("CLGRAD_TEST_OF_UTIL", "2")
    assert mx.util.getenv("CLGRAD_TEST_OF_UTIL") == "2"
    mx.util.setenv("CLGRAD_TEST_OF_UTIL", None)
    assert mx.util.getenv("CLGRAD_TEST_OF_UTIL") is None
    with pytest.raises(OperatorTypeError, match="value is int"):
        mx.util.setenv("CLGRAD_TEST_OF_UTIL", 3)
    for _ in range(2):
        mx.util.makedirs(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_gpus():
    assert mx.util.get_gpu_count() == mx.num_gpus()


def test_names_count_in_each_thread_and_scope():
    with mx.name.NameManager() as outer:
        assert [outer.get(None, "fc"), outer.get(None, "fc"), outer.get("own", "fc")] == [
            "fc0",
            "fc1",
            "own",
        ]
        with mx.name.Prefix("net_"):
            assert mx.gluon.nn.Dense(2).prefix == "net_dense0_"
        assert mx.gluon.nn.Dense(2).prefix == "dense0_"
        found = []
        thread = threading.Thread(target=lambda: found.append(mx.gluon.nn.Dense(2).prefix))
        thread.start()
        thread.join()
        assert found == ["dense0_"]
        assert mx.gluon.nn.Dense(2).prefix == "dense1_"


def test_a_scope_that_fails_is_left():
    net = mx.gluon.nn.Sequential(prefix="net_")
    with contextlib.suppress(ZeroDivisionError), net.name_scope(), net.name_scope():
        assert mx.gluon.nn.Dense(2).prefix == "net_dense0_"
        raise ZeroDivisionError
    with mx.name.NameManager():
        assert mx.gluon.nn.Dense(2).prefix == "dense0_"
