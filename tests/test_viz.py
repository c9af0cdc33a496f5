"""Tables and drawings of graphs, against those of MXNet."""

import shutil

import pytest
from golden.training import pictures, recorded

import clgrad as mx
from clgrad import nd, sym, viz
from clgrad.errors import AbsentError, MXNetError, OperatorError, OperatorTypeError
from clgrad.gluon import nn

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def answers():
    return pictures.answers(mx), recorded("pictures")


@pytest.mark.parametrize("what", sorted(recorded("pictures")))
def test_pictures_are_those_of_mxnet(what, answers):
    ours, theirs = (found[what].tolist() for found in answers)
    assert ours == theirs


def test_parameters_of_layers_that_mxnet_does_not_count(capsys):
    net = nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(nn.Conv2DTranspose(4, 2), nn.LayerNorm(), nn.PReLU(), nn.Dense(3, flatten=False))
    viz.print_summary(net(sym.var("data")), {"data": (1, 2, 5, 5)})
    text = capsys.readouterr().out
    assert f"Total params: {2 * 4 * 4 + 4 + 2 * 6 + 1 + 6 * 3 + 3}\n" in text


def test_a_shared_parameter_counts_once(capsys):
    x, weight = sym.var("data"), sym.var("w")
    y = sym.FullyConnected(x, weight, num_hidden=4, no_bias=True)
    y = sym.FullyConnected(y, weight, num_hidden=4, no_bias=True)
    viz.print_summary(y, {"data": (1, 4)})
    assert "Total params: 16\n" in capsys.readouterr().out


def test_a_summary_without_shapes(capsys):
    viz.print_summary(sym.relu(sym.var("data"), name="y"), line_length=40, positions=[10, 20, 30, 40])
    lines = capsys.readouterr().out.splitlines()
    assert lines[5] == "y(relu)             0         data      "


def test_bad_arguments():
    for call in (viz.print_summary, viz.plot_network):
        with pytest.raises(OperatorTypeError, match="symbol is NDArray; accepted: Symbol"):
            call(nd.ones(1))
        with pytest.raises(OperatorTypeError, match="no argument is named 'image'"):
            call(sym.relu(sym.var("data")), shape={"image": (1,)})
        with pytest.raises(OperatorError, match=r"the shape of data is not known|does not follow"):
            call(sym.var("data") + sym.var("other"), shape={"other": (1,)})
    with pytest.raises(OperatorError, match="node_attrs is int"):
        viz.plot_network(sym.var("data"), node_attrs=3)


def test_text_of_a_drawing(tmp_path):
    drawing = viz.plot_network(sym.relu(sym.var('a "b"\\'), name="y"), node_attrs={"width": "2"})
    assert '"a \\"b\\"\\\\" [label="a \\"b\\"\\\\" shape="oval"' in drawing.source
    assert 'width="2"' in drawing.source
    assert repr(drawing) == "<Digraph plot: 3 nodes and edges>"
    assert drawing.save(tmp_path / "net.gv") == str(tmp_path / "net.gv")
    assert (tmp_path / "net.gv").read_text() == drawing.source


def test_drawing_by_graphviz(tmp_path, monkeypatch):
    drawing = viz.plot_network(pictures.net(mx)(sym.var("data")))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AbsentError, match="`dot` is not installed"):
        drawing.render(tmp_path / "net")
    assert drawing._repr_mimebundle_() == {"text/plain": drawing.source}
    program = tmp_path / "dot"
    program.write_text(
        '#!/bin/sh\n[ "$1" = -Tsvg ] || { echo "no format $1" >&2; exit 1; }\nexec /bin/cat\n'
    )
    program.chmod(0o755)
    assert drawing.render(tmp_path / "net", format="svg") == str(tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_text() == drawing.source
    assert drawing._repr_mimebundle_()["image/svg+xml"] == drawing.source
    with pytest.raises(MXNetError, match="no format -Tpdf"):
        drawing.render(tmp_path / "net")
    assert not (tmp_path / "net.pdf").exists()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_the_text():
    assert b"</svg>" in viz.plot_network(pictures.net(mx)(sym.var("data"))).pipe("svg")
