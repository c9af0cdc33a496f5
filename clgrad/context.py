"""``mx.context``: MXNet's module of contexts."""

from clgrad.device import Context, cpu, current_context, gpu, gpu_memory_info, num_gpus

__all__ = ["Context", "cpu", "current_context", "gpu", "gpu_memory_info", "num_gpus"]
