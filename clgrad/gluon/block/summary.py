"""``block.summary(...)``: a table of layers, what they give, and how many numbers they learn."""

from dataclasses import dataclass
from typing import Any

from clgrad.array import NDArray

_WIDTH = 80


@dataclass
class _Row:
    layer: str
    shape: str
    parameters: int = 0
    trainable: int = 0
    shared: int = 0

    def __str__(self) -> str:
        return f"{self.layer:>20}  {self.shape:>42} {self.parameters:>15}"


def _shapes(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_shapes(v) for v in value]
    return value.shape if isinstance(value, NDArray) else value


def _shape_text(value: Any) -> str:
    shapes = _shapes(value)
    return str(shapes)[1:-1] if isinstance(shapes, list) else str(shapes)


class Summary:
    """Collects a row from each block that runs; ``str`` is the table in MXNet's layout."""

    def __init__(self, inputs: tuple):
        self._rows = [_Row("Input", _shape_text(inputs))]
        self._seen: set[int] = set()

    def hook(self, block: Any, inputs: Any, outputs: Any) -> None:
        """Add a row, as a forward hook."""
        row = _Row(f"{type(block).__name__}-{len(self._rows)}", _shape_text(outputs))
        for parameter in block.params.values():
            size = parameter.data().size
            row.parameters += size
            row.trainable += 0 if parameter.grad_req == "null" else size
            if id(parameter) in self._seen:
                row.shared += size
            self._seen.add(id(parameter))
        self._rows.append(row)

    def __str__(self) -> str:
        total, trainable, shared = (
            sum(getattr(row, what) for row in self._rows) for what in ("parameters", "trainable", "shared")
        )
        return "\n".join(
            [
                "-" * _WIDTH,
                f"{'Layer (type)':>20}  {'Output Shape':>42} {'Param #':>15}",
                "=" * _WIDTH,
                *map(str, self._rows),
                "=" * _WIDTH,
                "Parameters in forward computation graph, duplicate included",
                f"   Total params: {total}",
                f"   Trainable params: {trainable}",
                f"   Non-trainable params: {total - trainable}",
                f"Shared params in forward computation graph: {shared}",
                f"Unique parameters in model: {total - shared}",
                "-" * _WIDTH,
            ]
        )
