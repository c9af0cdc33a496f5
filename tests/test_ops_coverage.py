"""Every op of the table is tested somewhere, under every name that it has.

An op is tested by its cases in golden/cases, or in a module that lists it in COVERS, and beside it the
unnamed ops that it is made of. Adding an op without a test fails here.
"""

import importlib
import re
from operator import attrgetter
from pathlib import Path

import pytest
from golden.recording import cases_of, families

from clgrad import nd
from clgrad.registry import table

#: Ops that need no test of their own, and why.
UNTESTED: dict[str, str] = {}

#: MXNet's other names of ops.
ALIASES = {
    "_copy": "identity",
    "stop_gradient": "BlockGrad",
    "Softmax": "SoftmaxOutput",
    "div_sqrt_dim": "contrib.div_sqrt_dim",
    "fix": "trunc",
    "broadcast_add": "add",
    "broadcast_plus": "add",
    "broadcast_sub": "subtract",
    "broadcast_minus": "subtract",
    "broadcast_mul": "multiply",
    "broadcast_div": "divide",
    "true_divide": "divide",
    "broadcast_mod": "modulo",
    "broadcast_power": "power",
    "pow": "power",
    "broadcast_maximum": "maximum",
    "broadcast_minimum": "minimum",
    "broadcast_hypot": "hypot",
    "broadcast_arctan2": "arctan2",
    "broadcast_equal": "equal",
    "broadcast_not_equal": "not_equal",
    "broadcast_greater": "greater",
    "broadcast_greater_equal": "greater_equal",
    "broadcast_lesser": "lesser",
    "broadcast_lesser_equal": "lesser_equal",
    "broadcast_logical_and": "logical_and",
    "broadcast_logical_or": "logical_or",
    "broadcast_logical_xor": "logical_xor",
    "ElementWiseSum": "add_n",
    "Cast": "cast",
    "Reshape": "reshape",
    "Flatten": "flatten",
    "crop": "slice",
    "reverse": "flip",
    "SwapAxis": "swapaxes",
    "broadcast_axes": "broadcast_axis",
    "Concat": "concat",
    "SliceChannel": "split",
    "sum_axis": "sum",
    "max_axis": "max",
    "min_axis": "min",
    "choose_element_0index": "pick",
    "Pad": "pad",
    "ctc_loss": "CTCLoss",
    "contrib.CTCLoss": "CTCLoss",
    "contrib.ctc_loss": "CTCLoss",
    "uniform": "random_uniform",
    "normal": "random_normal",
    "contrib.isnan": "isnan",
    "contrib.isinf": "isinf",
    "contrib.isfinite": "isfinite",
    "linalg_potrf": "linalg.potrf",
    "linalg_potri": "linalg.potri",
    "linalg_trsm": "linalg.trsm",
    "linalg_inverse": "linalg.inverse",
    "linalg_det": "linalg.det",
    "linalg_slogdet": "linalg.slogdet",
    "linalg_gelqf": "linalg.gelqf",
    "linalg_syevd": "linalg.syevd",
    "linalg_gemm": "linalg.gemm",
    "linalg_gemm2": "linalg.gemm2",
    "linalg_syrk": "linalg.syrk",
    "linalg_trmm": "linalg.trmm",
    "linalg_extractdiag": "linalg.extractdiag",
    "linalg_makediag": "linalg.makediag",
    "linalg_extracttrian": "linalg.extracttrian",
    "linalg_maketrian": "linalg.maketrian",
    "linalg_sumlogdiag": "linalg.sumlogdiag",
    "boolean_mask": "contrib.boolean_mask",
    "index_array": "contrib.index_array",
    "index_copy": "contrib.index_copy",
}


def modules() -> dict[str, dict]:
    """COVERS of each test module that has one."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if re.search(r"^COVERS = ", path.read_text(), re.MULTILINE):
            found[path.name] = importlib.import_module(path.stem).COVERS
    return found


def test_every_op_is_tested():
    claimed = {
        name for covers in modules().values() for entry in covers.items() for name in (entry[0], *entry[1])
    }
    claimed |= {case.op for family in families() for case in cases_of(family)}
    ops = {op.name for op in table.values()}
    assert ops - claimed - UNTESTED.keys() == set(), "ops without a test: write one and add it to COVERS"
    assert UNTESTED.keys() & claimed == set(), "tested by now: take it out of UNTESTED"


@pytest.mark.parametrize("module", modules())
def test_claims_are_not_empty(module):
    """What a module claims is in the table, and the module uses it outside of its claims."""
    source = (Path(__file__).parent / module).read_text()
    used = re.sub(r"^COVERS = \{.*?^\}\n", "", source, flags=re.MULTILINE | re.DOTALL)
    for name, parts in modules()[module].items():
        for part in parts:
            assert part in table, f"{module} covers {part}, which is no op"
        if module == "test_ops_elementwise.py" and name in table:
            continue  # driven by the table
        names = [name, *getattr(table.get(name), "aliases", ())]
        assert any(re.search(rf"\b{re.escape(n)}\b", used) for n in names), f"{module} never uses {name}"


@pytest.mark.parametrize("alias", ALIASES)
def test_other_names(alias):
    assert table[alias] is table[ALIASES[alias]]
    if not alias.startswith("_"):
        assert attrgetter(alias)(nd) is table[alias]


def test_no_name_was_forgotten():
    known = {op.name for op in table.values()} | ALIASES.keys()
    assert table.keys() - known == set(), "a new alias: add it to ALIASES"
