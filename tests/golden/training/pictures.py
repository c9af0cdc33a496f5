"""What ``viz`` prints and draws of a net."""

import contextlib
import io
import re

import numpy as np


def net(mx):
    nn = mx.gluon.nn
    with mx.name.NameManager():
        made = nn.HybridSequential(prefix="net_")
    with made.name_scope():
        made.add(
            nn.Conv2D(8, (3, 2), activation="relu", in_channels=3),
            nn.BatchNorm(in_channels=8),
            nn.MaxPool2D(),
            nn.Flatten(),
            nn.Dense(10, in_units=128),
            nn.Dense(2, use_bias=False, in_units=10),
        )
    return made


def parts(source: str) -> list[str]:
    """Nodes and edges of a drawing with their labels, however its text is quoted."""
    text = source.replace("\\n", "/").replace("\n", "/")
    found = re.findall(r'\t"?([\w.]+)"?(?: -> "?([\w.]+)"?)? \[([^\]]*)\]', text)
    labels = [re.search(r'label=("[^"]*"|\S+)', attributes).group(1).strip('"') for *_, attributes in found]
    return sorted(f"{tail} {head} {label}" for (tail, head, _), label in zip(found, labels, strict=True))


def answers(mx) -> dict[str, np.ndarray]:
    graph, out = net(mx)(mx.sym.var("data")), io.StringIO()
    shape = {"data": (1, 3, 10, 9)}
    with contextlib.redirect_stdout(out):
        mx.viz.print_summary(graph, shape)
    return {
        "summary": np.array(out.getvalue()),
        "plain": np.array(parts(mx.viz.plot_network(graph).source)),
        "sized": np.array(
            parts(mx.viz.plot_network(graph, shape=shape, dtype={"data": np.float32}).source)
        ),
        "weights": np.array(parts(mx.viz.plot_network(graph, hide_weights=True, title="t").source)),
    }
