"""Names, parameters and defaults of blocks, of what trains them, and of what draws them are MXNet's."""

import pytest
from golden.training import recorded, signatures

import clgrad as mx

pytestmark = pytest.mark.once

#: What clgrad lacks, and why.
ABSENT = {
    "init.NDArray": "imported there",
    "init.is_np_array": "imported there",
    "init.load": "imported there: nd.load",
    "gluon.loss.is_np_array": "imported there",
    "gluon.utils.is_np_array": "imported there",
    "gluon.utils.is_np_shape": "imported there",
    "gluon.utils.shape_is_known": "of MXNet's own machinery",
    "gluon.utils.HookHandle": "gluon.block has it",
    "gluon.utils.replace_file": "os.replace does it",
    "optimizer.Optimizer.set_lr_scale": "raises in MXNet, too",
    "kv.KVStoreBase": "for stores of other libraries",
    "kv.KVStore.OPTIMIZER": "for stores of other libraries",
    "kv.KVStore.kv_registry": "for stores of other libraries",
    "kv.KVStore.register": "for stores of other libraries",
    "kv.KVStoreServer": "needs other processes",
    "util.c_str": "of MXNet's own machinery",
    "util.check_call": "of MXNet's own machinery",
    "util.get_cuda_compute_capability": "of CUDA",
    "util.np_ufunc_legal_option": "of MXNet's numpy interface",
    "util.py_str": "of MXNet's own machinery",
    "util.set_module": "of MXNet's own machinery",
    "util.wrap_np_binary_func": "of MXNet's numpy interface",
    "util.wrap_np_unary_func": "of MXNet's numpy interface",
}
#: Parameters that MXNet does not show, takes as *args, or that are handles of its library.
OTHERS = {"init.create", "optimizer.Test", "optimizer.ccSGD", "kv.KVStore", "viz.Symbol"}
#: Defaults that MXNet makes once, for all calls; and arguments that may be left out here.
OTHERS |= {
    f"gluon.{owner}.initialize" for owner in ("Block", "HybridBlock", "SymbolBlock", "ParameterDict")
}
OTHERS |= {
    f"gluon.{owner}.{name}" for owner in ("Parameter", "Constant") for name in ("initialize", "reset_ctx")
}
OTHERS |= {"gluon.ParameterDict.reset_ctx", "viz.plot_network", "viz.print_summary"}


def test_signatures():
    theirs, ours = (dict(a["signatures"]) for a in (recorded("signatures"), signatures.answers(mx)))
    assert theirs.keys() - ours.keys() == ABSENT.keys()
    different = {k: (v, ours[k]) for k, v in theirs.items() if k in ours and ours[k] != v}
    assert different.keys() == OTHERS, different
