"""A recorded graph, made better before it is replayed."""

from clgrad.graph.cleaning import without_copies, without_repetition, without_waste
from clgrad.graph.folding import with_folded_norms
from clgrad.graph.hoisting import hoisted
from clgrad.graph.ir import Graph
from clgrad.graph.merging import fused
from clgrad.graph.transposes import without_transposes
from clgrad.memory import Stream


def optimized(graph: Graph, stream: Stream) -> Graph:
    """A graph with the same results, but for rounding, in fewer launches and with less memory."""
    graph = without_waste(without_repetition(without_copies(graph)))
    graph = without_waste(without_transposes(graph, stream))
    graph = with_folded_norms(graph, stream)
    return without_waste(fused(hoisted(graph, stream), stream))
