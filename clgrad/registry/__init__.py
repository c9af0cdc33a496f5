"""How an op is declared and applied. The declarations are in :mod:`clgrad.ops`.

====================  ==============================================================================
module                holds
====================  ==============================================================================
``operator``          what every op has; how a call is bound, run and recorded; the table of ops
``elementwise``       ops that are one formula
``planned``           ops with a planner of their own, and those that only relabel memory
``composite``         ops that are programs of other ops
``grouped``           ops of several launches that have one gradient rule
``update``            steps of parameters
``rule``              gradient rules: functions whose parameters name what they read
``kinds``             what values parameters take
``glossary``          what the parameters are that many ops share
``documentation``     docstrings, completed from declarations and glossary
``arrays``            whether arguments are arrays, and ``out`` fits
``bulk``              elementwise launches that wait to be merged
``sequence``          the kernels of those that have come up before
``kept``              results that are kept as formulas of what they were made of
``gradient_kernels``  gradient rules as C, for one op
``gradient_chain``    the same for ops that depend on each other, in one launch
====================  ==============================================================================
"""

from clgrad.registry.composite import Composite, composite
from clgrad.registry.elementwise import Elementwise, elementwise
from clgrad.registry.gradient_chain import GradientChain
from clgrad.registry.grouped import grouped
from clgrad.registry.kinds import reads
from clgrad.registry.operator import Operator, Spec, filled, kernel_name, namespace, table
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
    "filled",
    "grouped",
    "kernel_name",
    "namespace",
    "operator",
    "reads",
    "relabel",
    "table",
    "update",
]
