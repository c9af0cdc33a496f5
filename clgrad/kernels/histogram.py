"""Planner of histograms: partial counts of the elements between edges."""

import numpy as np

from clgrad import dtypes
from clgrad.device import Device
from clgrad.kernels import layout, map, template
from clgrad.kernels.launch import In, Out, Plan, Step
from clgrad.kernels.signature import Signature

#: Work-items of a GPU's work-group, where the device allows, and work-groups for each compute unit.
GPU_GROUP, GPU_GROUPS = 256, 4


def plan_parts(device: Device, name: str, size: int, bins: int, dtype: np.dtype, edges: np.dtype) -> Plan:
    """Plan the counts of parts of the data in each bin.

    Inputs: data (of ``size`` elements, converted to the compute type of ``edges``), edges (bins + 1, in
    ascending order). Outputs: int32 of shape (parts, bins), to be added up.
    """
    gpu = device.kind != "cpu"
    if gpu:
        local = min(GPU_GROUP, device.capabilities.max_work_group_size)
        parts = max(1, min(-(-size // local), GPU_GROUPS * device.capabilities.compute_units))
    else:
        local, parts = 1, map.ranges(device, max(1, size), size)[0][0]
    signature = Signature(layout.needs_long((size,), []) or layout.needs_long((parts, bins), []))
    signature.array("data", dtype, In(0))
    signature.array("edges", edges, In(1))
    signature.array("parts", dtypes.int32, Out(0))
    signature.fixed("size", size)
    signature.fixed("bins", bins)
    source = template.render("histogram", name=name, signature=signature, dtype=dtype, edges=edges, gpu=gpu)
    step = Step(name, source, (parts * local,), (local,), signature.args)
    return Plan(device, [step] if size else [], [((parts, bins), dtypes.int32)], inputs=2)
