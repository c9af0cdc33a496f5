"""Data loaders: the same batches however they are made, ends of workers, and going on after a stop."""

import gc
import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import eventually
from trace_format import check_trace

import clgrad as mx
from clgrad import host_random, nd
from clgrad.errors import DeviceError, OperatorError, OperatorTypeError
from clgrad.gluon import data

WAYS = [{}, {"prefetch": 2}, {"num_workers": 2, "thread_pool": True}, {"num_workers": 2}]
WAY_IDS = ["here", "ahead", "threads", "processes"]


def double(x, y):
    return x * 2, y


def noisy(x, y):
    return x + host_random.source().uniform(size=2).astype(np.float32), y


noisy.takes_numpy = True


def samples(count: int = 20) -> data.ArrayDataset:
    x = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return data.ArrayDataset(nd.array(x), nd.arange(count))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def hosts(batches) -> list:
    return [[part.asnumpy() for part in batch] for batch in batches]


def same(ours, theirs) -> None:
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        for a, b in zip(our, their, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_batches_are_the_same_however_they_are_made(way):
    dataset = samples().transform(double)
    loader = data.DataLoader(dataset, batch_size=6, **way)
    assert len(loader) == 4
    for _ in range(2):  # the second time with the workers of the first
        x, y = zip(*hosts(loader), strict=True)
        np.testing.assert_array_equal(np.concatenate(x), 2 * np.arange(40).reshape(20, 2))
        np.testing.assert_array_equal(np.concatenate(y), np.arange(20))
        assert x[0].dtype == y[0].dtype == np.float32
        assert [len(part) for part in y] == [6, 6, 6, 2]


@pytest.mark.once
def test_lists_are_arrays_and_tuples_have_members():
    """As in MXNet: a list of tokens is one row of a batch."""
    assert data.default_batchify_fn([[1, 2, 3], [4, 5, 6]]).asnumpy().tolist() == [[1, 2, 3], [4, 5, 6]]
    tokens, label = data.default_batchify_fn([([1, 2], 0), ([3, 4], 1)])
    assert (tokens.shape, label.shape) == ((2, 2), (2,))
    with pytest.raises(OperatorError, match="a sample is a list that is no array"):
        data.default_batchify_fn([[1, [2, 3]], [4, 5]])
    with pytest.raises(OperatorError, match="a batch has no samples"):
        list(data.DataLoader([1, 2], batch_sampler=[[]]))


@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_batches_can_be_trained_on(way, rng):
    x = rng.standard_normal((32, 3)).astype(np.float32)
    y = x @ np.float32([[1], [-2], [3]])
    net = mx.gluon.nn.Dense(1, in_units=3)
    net.initialize(mx.init.Zero())
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.4})
    loss_of = mx.gluon.loss.L2Loss()
    loader = data.DataLoader(data.ArrayDataset(x, y), batch_size=8, **way)
    for _ in range(30):
        for images, labels in loader:
            with mx.autograd.record():
                loss = loss_of(net(images), labels)
            loss.backward()
            trainer.step(8)
    np.testing.assert_allclose(net.weight.data().asnumpy(), [[1, -2, 3]], atol=1e-2)


@pytest.mark.once
def test_what_is_drawn_for_a_batch_depends_on_the_seed_alone():
    runs = []
    for way in [*WAYS, {"num_workers": 3}]:
        np.random.seed(5)
        loader = data.DataLoader(samples().transform(noisy), batch_size=3, shuffle=True, **way)
        runs.append(hosts(loader) + hosts(loader))
    for run in runs[1:]:
        same(run, runs[0])
    first, second = runs[0][:7], runs[0][7:]
    noise = [np.sort((x - x.round())[:, 0]) for x, _ in (first[0], second[0])]
    assert not np.array_equal(*noise)  # other numbers for each iteration


@pytest.mark.once
def test_workers_seed_the_generators_of_others():
    def draw(x):
        return np.float64([np.random.uniform(), x])

    def run():
        np.random.seed(2)
        return [
            b.asnumpy()
            for b in data.DataLoader(data.SimpleDataset(range(8)).transform(draw), 2, num_workers=2)
        ]

    first = run()
    assert len({b[0, 0] for b in first}) == 4  # not the same in each worker
    np.testing.assert_array_equal(first, run())


@pytest.mark.once
@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_errors_of_the_dataset_arrive_with_their_traceback(way):
    def refuse(x, y):
        if y == 7:
            raise KeyError("sample seven")
        return x, y

    loader = data.DataLoader(samples().transform(refuse), batch_size=2, **way)
    with pytest.raises(KeyError, match="sample seven") as error:
        list(loader)
    if way.get("num_workers") and not way.get("thread_pool"):
        assert "in refuse" in str(error.value.__cause__)
    else:
        assert any(entry.name == "refuse" for entry in error.traceback)
    assert not multiprocessing.active_children()


@pytest.mark.once
def test_an_exception_that_cannot_be_sent_arrives_as_text():
    class LocalError(Exception):
        pass

    def refuse(x, y):
        raise LocalError("only here")

    with pytest.raises(data.DataLoaderError, match=r"worker 0 .*LocalError: only here"):
        list(data.DataLoader(samples().transform(refuse), batch_size=2, num_workers=1))


@pytest.mark.once
def test_workers_that_die_or_hang_are_named():
    def die(x, y):
        os.kill(os.getpid(), signal.SIGKILL)

    def leave(x, y):
        os._exit(3)

    def hang(x, y):
        time.sleep(100)

    for function, timeout, complaint in (
        (die, 100, r"worker 0 \(process \d+\) was killed by SIGKILL"),
        (leave, 100, r"worker 0 \(process \d+\) has ended with exit code 3"),
        (hang, 0.3, r"worker 0 \(process \d+\) has made no batch in 0.3 s"),
    ):
        loader = data.DataLoader(samples().transform(function), 2, num_workers=2, timeout=timeout)
        with pytest.raises(data.DataLoaderError, match=complaint):
            list(loader)
        assert not multiprocessing.active_children()


@pytest.mark.once
def test_nothing_is_left_behind():
    loader = data.DataLoader(samples(), batch_size=2, num_workers=2)
    for _ in loader:
        break
    eventually(lambda: not multiprocessing.active_children())
    assert len(list(loader)) == 10
    assert len(multiprocessing.active_children()) == 2  # for the next iteration
    iteration = iter(loader)
    next(iteration)
    del loader, iteration
    gc.collect()
    eventually(lambda: not multiprocessing.active_children())


@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.parametrize("way", [{"prefetch": 2}, {"num_workers": 2}], ids=["ahead", "processes"])
def test_a_forked_child_leaves_the_parents_iteration_alone(way):
    """It can neither go on with it, nor does it take threads and workers along when it lets go of them."""
    loader = data.DataLoader(np.arange(20.0), 3, **way)
    batches = iter(loader)
    next(batches)
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            next(batches)
        except DeviceError as error:
            os._exit(0 if "which only its parent can go on with" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(list(batches)) == 6
    child = os.fork()
    if not child:
        signal.alarm(20)
        del loader, batches
        gc.collect()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(list(loader)) == 7


@pytest.mark.once
def test_a_loader_is_copied_with_nothing_that_goes_on():
    loader = data.DataLoader(np.arange(20.0), 3, num_workers=1)
    batches = iter(loader)
    next(batches)
    assert len(list(pickle.loads(pickle.dumps(loader)))) == 7
    assert len(list(batches)) == 6


@pytest.mark.once
@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 1e400},
        {"done": -1},
        {"done": True},
        {"numpy": {}},
        {"numpy": host_random.get_state() | {"position": 10**6}},  # numpy itself would read from there
        {"numpy": host_random.get_state() | {"key": [2**40] * 624}},
        {"sampler": {"left": 3, "sampler": None}},
        {"sampler": {"left": [1], "sampler": 3}},
    ],
    ids=["infinite", "negative", "bool", "empty", "position", "words", "left", "inner"],
)
def test_damaged_states_change_nothing(change):
    loader = data.DataLoader(np.arange(20.0), 3, shuffle=True, last_batch="rollover")
    list(loader)
    before = loader.get_state()
    with pytest.raises(OperatorError, match="set_state: state is damaged"):
        loader.set_state(before | {"epoch": 1, "done": 1, "numpy": host_random.get_state()} | change)
    assert loader.get_state()["sampler"] == before["sampler"]


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_workers_end_with_their_parent():
    program = """
import os, signal, numpy as np
from clgrad.gluon import data
def tell(x):
    os.write(1, b'%d\\n' % os.getpid())
    return x
loader = iter(data.DataLoader(data.SimpleDataset(np.arange(8)).transform(tell), 1, num_workers=2))
next(loader); next(loader)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    workers = set(map(int, done.stdout.split()))
    assert done.returncode == -signal.SIGKILL
    assert len(workers) == 2
    eventually(lambda: not any(map(is_running, workers)))


@pytest.mark.once
def test_worker_processes_have_no_device():
    """What an NDArray does there is an error that says so, and no hang."""

    class Held(data.Dataset):
        def __init__(self):
            self.x = nd.ones((4, 2))

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return self.x[index]

    with pytest.raises(OperatorTypeError, match="worker processes have no device"):
        list(data.DataLoader(Held(), 2, num_workers=1))
    with pytest.raises(DeviceError, match="fork"):
        list(
            data.DataLoader(
                data.SimpleDataset([1, 2]).transform(lambda x: nd.ones(2).asnumpy()), 2, num_workers=1
            )
        )
    assert next(iter(data.DataLoader(Held(), 2, num_workers=1, thread_pool=True))).shape == (2, 2)


@pytest.mark.once
def test_arrays_written_to_are_read_anew():
    array = nd.zeros((4, 2))
    loader = data.DataLoader(data.ArrayDataset(array), batch_size=4)
    assert next(iter(loader)).asnumpy().sum() == 0
    array[:] = 1
    assert next(iter(loader)).asnumpy().sum() == 8


@pytest.mark.once
def test_arrays_on_the_way_to_another_process_leave_the_device():
    copy = pickle.loads(pickle.dumps(samples(3)))
    assert isinstance(copy[1][0], np.ndarray)
    assert copy[2][1] == 2


@pytest.mark.once
@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_batches_of_users_own(way):
    def batchify(batch):
        x, y = zip(*batch, strict=True)
        lengths = [len(part) for part in x]
        padded = np.zeros((len(x), max(lengths)), np.float32)
        for row, part in zip(padded, x, strict=True):
            row[: len(part)] = part
        return padded, {"names": [f"n{i}" for i in y], "lengths": np.array(lengths, np.int32)}

    dataset = data.SimpleDataset([(np.ones(n), n) for n in (3, 1, 2, 5)])
    loader = data.DataLoader(dataset, 2, batchify_fn=batchify, **way)
    (x, more), (longer, _) = loader
    assert more["names"] == ["n3", "n1"]
    for part in (x, more["lengths"]):
        assert isinstance(part, nd.NDArray if way else np.ndarray)
    assert x.shape == (2, 3)
    assert longer.shape == (2, 5)
    assert np.asarray(more["lengths"]).tolist() == [3, 1]


# Datasets and samplers


@pytest.mark.once
def test_datasets_are_made_of_others():
    dataset = data.SimpleDataset(list(range(10)))
    assert list(dataset.filter(lambda x: x % 3 == 0)) == [0, 3, 6, 9]
    assert list(dataset.take(3).transform(lambda x: -x, lazy=False)) == [0, -1, -2]
    assert list(dataset.take(None)) == list(dataset.take(99)) == list(range(10))
    assert sorted(x for i in range(4) for x in dataset.shard(4, i)) == list(range(10))
    assert list(dataset.sample(data.IntervalSampler(10, 4))) == [0, 4, 8, 1, 5, 9, 2, 6, 3, 7]
    pairs = data.ArrayDataset(dataset, np.arange(10) * 2).transform_first(str)
    assert pairs[4] == ("4", 8)
    assert data.ArrayDataset([1, 2])[0] == 1


@pytest.mark.once
@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda d: data.DataLoader(d), "batch_size is None"),
        (lambda d: data.DataLoader(d, 0), "batch_size is 0"),
        (lambda d: data.DataLoader(d, 2, num_workers=-1), "num_workers is -1"),
        (lambda d: data.DataLoader(d, 2, timeout=0), "timeout is 0"),
        (lambda d: data.DataLoader(d, 2, last_batch="drop"), "last_batch is 'drop'"),
        (lambda d: data.DataLoader(d, 2, True, data.RandomSampler(2)), "shuffle is True"),
        (lambda d: data.DataLoader(d, 2, batch_sampler=[[0]]), "batch_sampler is list"),
        (lambda d: d.shard(2, 2), "index is 2"),
        (lambda d: d.shard(0, 0), "num_shards is 0"),
        (lambda d: d.take(-1), "count is -1"),
        (lambda d: data.ArrayDataset(), "args is empty"),
        (lambda d: data.ArrayDataset([1], [1, 2]), r"of lengths \[1, 2\]"),
        (lambda d: data.IntervalSampler(3, 4), "interval is 4"),
        (lambda d: list(data.DataLoader([np.ones(2), np.ones(3)], 2)), r"shapes \(2,\), \(3,\)"),
        (lambda d: list(data.DataLoader([(1,), (1, 2)], 2)), r"\[1, 2\] members"),
        (lambda d: data.DataLoader(d, 2).set_state({"done": 1}), "state is damaged"),
    ],
)
def test_bad_arguments(call, complaint):
    with pytest.raises(OperatorError, match=complaint):
        call(data.SimpleDataset(range(4)))


@pytest.mark.once
def test_what_cannot_be_an_array_is_refused():
    with pytest.raises(OperatorTypeError, match="DataLoader: the samples' dtype"):
        list(data.DataLoader(["a", "b"], 2))
    with pytest.raises(OperatorTypeError, match="dataset is int"):
        data.DataLoader(5, 2)


# Going on


@pytest.mark.once
@pytest.mark.parametrize("last_batch", ["keep", "rollover"])
@pytest.mark.parametrize("way", [{}, {"num_workers": 2}], ids=["here", "processes"])
def test_a_loader_goes_on_where_another_was(way, last_batch):
    def make():
        dataset = samples(11).transform(noisy)
        return data.DataLoader(dataset, 4, shuffle=True, last_batch=last_batch, **way)

    np.random.seed(3)
    loader = make()
    whole, states = [], []
    for _ in range(3):
        states.append((len(whole), host_random.get_state(), loader.get_state()))
        for batch in loader:
            whole += hosts([batch])
            np.random.uniform()  # whatever else a program draws
            states.append((len(whole), host_random.get_state(), loader.get_state()))
    for position, numbers, state in json.loads(json.dumps(states)):
        np.random.seed(99)
        host_random.set_state(numbers)
        resumed = make()
        resumed.set_state(state)
        assert resumed.get_state() == state
        rest = []
        while len(rest) + position < len(whole):
            for batch in resumed:
                rest += hosts([batch])
                np.random.uniform()
        same(rest, whole[position:])


def test_profiles_show_what_is_copied_ahead(tmp_path):
    """In the table, on a row of its own in trace and page; and it counts as no idle time of the device."""
    x = np.ones((12, 64), np.float32)
    batches = iter(data.DataLoader(x, 2, prefetch=1))  # its thread has begun
    first = [next(batches)]
    with mx.profiler.profile() as p:
        copied = len(first + list(batches)) - 1 + len(list(data.DataLoader(x, 3, prefetch=2)))
        nd.waitall()
    seen = [launch for launch in p.launches if launch.op == "prefetch"]
    assert copied - 2 <= len(seen) <= copied, "all but what was copied before"
    assert {launch.nbytes for launch in seen} == {2 * 64 * 4, 3 * 64 * 4}
    assert all(x.is_beside and 0 <= x.begun <= x.queued <= x.started <= x.ended for x in seen)
    assert {p.threads[launch.thread] for launch in seen} == {"clgrad-data"}
    assert sum(kind.count for kind in p.kinds if kind.work.op == "prefetch") == len(seen)
    assert re.search(r"^prefetch ", p.table(), re.M)
    assert not any(p.threads.get(thread) == "clgrad-data" for _, thread in p.idleness)

    p.save_chrome_trace(tmp_path / "trace.json")
    document = json.loads((tmp_path / "trace.json").read_text())
    check_trace(document)
    events = document["traceEvents"]
    rows = {(e["pid"], e["tid"]) for e in events if e.get("cat") == "kernel" and e["name"] == "prefetch"}
    named = [e for e in events if e["name"] == "thread_name" and (e["pid"], e["tid"]) in rows]
    assert {e["args"]["name"] for e in named} == {"copies of clgrad-data"}
    p.save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    queues = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])["queues"]
    beside = [q for q in queues if q["beside"]]
    assert all(q["name"].endswith("copies of clgrad-data") for q in beside)
    assert sum(len(q["columns"]["started"]) for q in beside) == len(seen)

    assert len(list(data.DataLoader(x, 2, prefetch=2))) == 6
    assert len(p.launches) == sum(len(q.rows) for q in p.queues), "nothing is noted any more"


def test_a_batch_may_be_let_go_of_while_it_is_worked_on(rng):
    """Its memory is no stream's: it must stay until the launches that read it have run."""
    x = rng.standard_normal((60, 128, 64)).astype(np.float32)
    for way in WAYS:
        results = []
        for batch in data.DataLoader(x, 2, **way):
            y = nd.batch_dot(batch, batch, transpose_b=True)
            for _ in range(4):
                y = nd.batch_dot(y, y) * 1e-2
                y = nd.tanh(y)
            results.append(y.sum(axis=(1, 2)))
            del batch, y
        found = np.concatenate([r.asnumpy() for r in results])
        expected = np.concatenate([r.asnumpy() for r in map(_worked_on, x.reshape(30, 2, 128, 64))])
        np.testing.assert_array_equal(found, expected)


def _worked_on(host: np.ndarray) -> nd.NDArray:
    y = nd.batch_dot(nd.array(host), nd.array(host), transpose_b=True)
    for _ in range(4):
        y = nd.tanh(nd.batch_dot(y, y) * 1e-2)
    return y.sum(axis=(1, 2))
