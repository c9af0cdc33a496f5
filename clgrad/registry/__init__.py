"""How an op is declared and applied. The declarations are in :mod:`clgrad.ops`."""

from clgrad.registry.composite import Composite, composite
from clgrad.registry.elementwise import Elementwise, elementwise
from clgrad.registry.gradient_chain import GradientChain
from clgrad.registry.grouped import grouped
from clgrad.registry.kinds import reads
from clgrad.registry.operator import Operator, Spec, kernel_name, namespace, table
from clgrad.registry.planned import Call, Relabel, RelabelCall, operator, relabel
from clgrad.registry.update import MultiUpdate, update

__all__ = [
    "Call",
    "Composite",
    "Elementwise",
    "GradientChain",
    "MultiUpdate",
    "Operator",
    "Relabel",
    "RelabelCall",
    "Spec",
    "composite",
    "elementwise",
    "grouped",
    "kernel_name",
    "namespace",
    "operator",
    "reads",
    "relabel",
    "table",
    "update",
]
