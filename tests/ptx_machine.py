"""A machine for the PTX that clang makes of kernels: what becomes of inline assembly, on no GPU.

All work-items of a work-group are computed side by side, in numpy. Those that are farthest behind in the
program go first, so that most meet again behind a branch. What a warp, or a work-group, executes as one
waits for all of it, and is an error if some of it never comes; so are accesses outside of the arrays, and
those not aligned. Copies are as late as they may be: the wait that needs them makes them. Semantics are
those of the PTX ISA; what no kernel needs so far is not here.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

#: Bytes between arrays in global memory, of whose neighbours an access would be an error.
_GAP = 4096

_COMPARE = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
}  # fmt: skip
_ARITHMETIC = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip
_SPECIAL = {"%tid.x": "tid", "%ctaid.x": 0, "%ctaid.y": 1, "%ctaid.z": 2}

#: Row and column of element i of a fragment, in lane 4 g + t.
Table = Callable[[int, int, int], tuple[int, int]]

_PAIRS: list[Table] = [
    lambda i, g, t: (
        g if 0 <= i < 2 or 4 <= i < 6 else g + 8,
        t * 2 + (i & 1) if i < 4 else t * 2 + (i & 1) + 8,
    ),
    lambda i, g, t: (t * 2 + (i & 1) if i < 2 else t * 2 + (i & 1) + 8, g),
    lambda i, g, t: (g if i < 2 else g + 8, t * 2 + (i & 1)),
]
#: The tables of the PTX ISA, for A, B and C of ``mma``: m16n8k16 of 16-bit numbers, m16n8k8 of tf32.
FRAGMENTS: dict[str, Sequence[Table]] = {
    "f16": _PAIRS,
    "bf16": _PAIRS,
    "tf32": [
        lambda i, g, t: (g if i in (0, 2) else g + 8, t if i in (0, 1) else t + 4),
        lambda i, g, t: (t if i == 0 else t + 4, g),
        _PAIRS[2],
    ],
}


def numpy_type(name: str) -> np.dtype:
    """``u32``, ``b16``, ``f32``, ``pred``."""
    kind = {"u": "u", "b": "u", "s": "i", "f": "f"}
    return np.dtype(bool) if name == "pred" else np.dtype(f"{kind[name[0]]}{int(name[1:]) // 8}")


class Machine:
    """A program and what it works on.

    Parameters
    ----------
    ptx : str
        A module.
    kernel : str
        Name of its entry.
    """

    def __init__(self, ptx: str, kernel: str):
        entry = ptx[re.search(rf"\.entry {kernel}\(", ptx).start() :]
        self.parameters = re.findall(r"\.param \.(\w+) (\w+)", entry.partition(")")[0])
        body = re.sub(r"//.*", "", entry.partition("{")[2][: entry.partition("{")[2].index("\n}")])
        self.shared_at: dict[str, int] = {}
        self.shared_bytes = 0
        for name, size in re.findall(r"\.shared \.align 16 \.b8 ([^\[\s]+)\[(\d+)\];", body):
            self.shared_at[name] = self.shared_bytes
            self.shared_bytes += int(size)
        self.labels: dict[str, int] = {}
        self.program: list[tuple[str, str, list[str]]] = []
        for statement in re.split(r"[;\n]", re.sub(r"(\$\w+):", r"\1:;", body)):
            text = statement.lstrip(" \t{}").rstrip()
            if text.endswith(":"):
                self.labels[text[:-1]] = len(self.program)
            elif text and not text.startswith("."):
                guard, rest = re.match(r"(?:@(!?%\w+)\s+)?(.*)", text, re.S).groups()
                op, _, operands = rest.partition("\t" if "\t" in rest else " ")
                split = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", operands)
                self.program.append((guard or "", op.strip(), split))

    def run(self, arguments: Sequence, group: int, grid: tuple[int, int, int]) -> None:
        """Compute all work-groups; numpy arrays among the arguments are global memory, written in place."""
        arrays = [x for x in arguments if isinstance(x, np.ndarray)]
        starts = np.cumsum([_GAP, *(-(-x.nbytes // _GAP) * _GAP + _GAP for x in arrays)])
        self.memory = np.zeros(starts[-1], np.uint8)
        self.mine = np.zeros(starts[-1], bool)
        for x, start in zip(arrays, starts, strict=False):
            self.memory[start : start + x.nbytes] = x.reshape(-1).view(np.uint8)
            self.mine[start : start + x.nbytes] = True
        addresses = iter(starts.tolist())
        values = [next(addresses) if isinstance(x, np.ndarray) else int(x) for x in arguments]
        self.values = {name: v for (_, name), v in zip(self.parameters, values, strict=True)}
        self.lanes = np.arange(group)
        for place in np.ndindex(grid[::-1]):
            self._group(place[::-1])
        for x, start in zip(arrays, starts, strict=False):
            x.reshape(-1).view(np.uint8)[:] = self.memory[start : start + x.nbytes]

    def _group(self, place: tuple[int, ...]) -> None:
        self.place = place
        self.registers: dict[str, np.ndarray] = {}
        self.shared = np.full(self.shared_bytes, 0xA5, np.uint8)
        self.copies: list[list[tuple]] = [[] for _ in self.lanes]
        self.committed: list[list[list[tuple]]] = [[] for _ in self.lanes]
        at = np.zeros(len(self.lanes), int)
        while (at < len(self.program)).any():
            here, active = self._next(at)
            guard, op, operands = self.program[here]
            at[active] += 1
            if guard:
                held = self._read(guard.lstrip("!"), np.dtype(bool), active)
                active = active[~held if guard[0] == "!" else held]
            if op.startswith("bra"):
                at[active] = self.labels[operands[0]]
            elif op.startswith("ret"):
                at[active] = len(self.program)
            elif len(active):
                self._execute(op.split("."), operands, active)

    def _next(self, at: np.ndarray) -> tuple[int, np.ndarray]:
        """The first place in the program where work-items can go on, and which of them."""
        for here in np.unique(at[at < len(self.program)]):
            ready = at == here
            op = self.program[here][1]
            if op.startswith("bar"):
                ready &= ready.all()
            elif op.startswith(("ldmatrix", "mma")):
                ready &= np.repeat(ready.reshape(-1, 32).all(axis=1), 32)
            if ready.any():
                return here, np.flatnonzero(ready)
        raise AssertionError("some work-items wait for others that do not come")

    # Operands

    def _read(self, operand: str, dtype: np.dtype, active: np.ndarray) -> np.ndarray:
        if operand in _SPECIAL:
            special = _SPECIAL[operand]
            found = self.lanes[active] if special == "tid" else np.full(len(active), self.place[special])
            return found.astype(dtype)
        if operand.startswith("%"):
            raw = self.registers[operand][active]
            return raw != 0 if dtype.kind == "b" else _from_bits(raw, dtype)
        if operand.startswith("0f"):
            return np.full(len(active), int(operand[2:], 16), np.uint32).view(np.float32)
        value = self.shared_at.get(operand)
        value = int(operand, 0) if value is None else value
        return (
            np.full(len(active), value & (1 << 64) - 1, np.uint64).astype(f"u{dtype.itemsize}").view(dtype)
        )

    def _write(self, operand: str, values: np.ndarray, active: np.ndarray) -> None:
        register = self.registers.setdefault(operand, np.zeros(len(self.lanes), np.uint64))
        register[active] = values if values.dtype == bool else values.view(f"u{values.dtype.itemsize}")

    def _address(self, operand: str, active: np.ndarray) -> np.ndarray:
        base, _, offset = operand.strip("[]").partition("+")
        return self._read(base, np.dtype(np.uint64), active).astype(np.int64) + int(offset or 0)

    def _bytes(self, space: str, address: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The memory, and the place in it of each byte; what no array has is an error."""
        assert not (address % count).any(), "an access is not aligned"
        places = address[:, None] + np.arange(count)
        assert (places >= 0).all()
        assert (places < self.shared_bytes).all() if space == "shared" else self.mine[places].all(), space
        return (self.shared if space == "shared" else self.memory), places

    # Instructions

    def _execute(self, op: list[str], operands: list[str], active: np.ndarray) -> None:
        special = getattr(self, f"_do_{op[0]}", None)
        if special:
            special(op, operands, active)
            return
        dtype = numpy_type(op[-1])
        read = [self._read(x, dtype, active) for x in operands[1:]]
        with np.errstate(over="ignore"):
            if op[1] == "wide":
                wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
                result = read[0].astype(wide) * read[1].astype(wide)
            else:
                result = _ARITHMETIC[op[0]](*read)
        self._write(operands[0], result, active)

    def _do_mov(self, op, operands, active):
        target, source = operands
        if source.startswith("{"):  # of halves
            low, high = (self._read(x, np.dtype("u2"), active).astype("u4") for x in _listed(source))
            self._write(target, low | high << 16, active)
        else:
            self._write(target, self._read(source, numpy_type(op[-1]), active), active)

    def _do_not(self, op, operands, active):
        self._write(operands[0], ~self._read(operands[1], numpy_type(op[-1]), active), active)

    def _do_neg(self, op, operands, active):
        self._write(operands[0], -self._read(operands[1], numpy_type(op[-1]), active), active)

    def _do_setp(self, op, operands, active):
        x, y = (self._read(x, numpy_type(op[-1]), active) for x in operands[1:])
        self._write(operands[0], _COMPARE[op[1]](x, y), active)

    def _do_selp(self, op, operands, active):
        x, y = (self._read(x, numpy_type(op[-1]), active) for x in operands[1:3])
        chosen = np.where(self._read(operands[3], np.dtype(bool), active), x, y)
        self._write(operands[0], chosen, active)

    def _do_shl(self, op, operands, active):
        count = self._read(operands[2], np.dtype("u4"), active)
        x = self._read(operands[1], numpy_type(op[-1]), active)
        self._write(operands[0], x << count.astype(x.dtype), active)

    def _do_shr(self, op, operands, active):
        count = self._read(operands[2], np.dtype("u4"), active)
        x = self._read(operands[1], numpy_type(op[-1]), active)
        self._write(operands[0], x >> count.astype(x.dtype), active)

    def _do_bfe(self, op, operands, active):
        x, at, count = (self._read(x, np.dtype("u4"), active) for x in operands[1:])
        self._write(operands[0], x >> at & ((np.uint32(1) << count) - np.uint32(1)), active)

    def _do_mad(self, op, operands, active):
        x, y, z = (self._read(x, numpy_type(op[-1]), active) for x in operands[1:])
        with np.errstate(over="ignore"):
            self._write(operands[0], x * y + z, active)

    def _do_cvt(self, op, operands, active):
        if op[1] == "rna":  # to tf32: half away from zero
            bits = self._read(operands[1], np.dtype("u4"), active)
            self._write(operands[0], (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000), active)
            return
        self._write(
            operands[0],
            self._read(operands[1], numpy_type(op[-1]), active).astype(numpy_type(op[-2])),
            active,
        )

    def _do_cvta(self, op, operands, active):
        self._write(operands[0], self._read(operands[-1], np.dtype("u8"), active), active)

    def _do_ld(self, op, operands, active):
        dtype, targets = numpy_type(op[-1]), _listed(operands[0])
        if op[1] == "param":
            value = self.values[operands[1].strip("[]")] & (1 << 8 * dtype.itemsize) - 1
            values = np.full((len(active), 1), value, f"u{dtype.itemsize}")
        else:
            size = len(targets) * dtype.itemsize
            memory, places = self._bytes(op[1], self._address(operands[1], active), size)
            values = memory[places].view(f"u{dtype.itemsize}")
        for i, target in enumerate(targets):
            self._write(target, np.ascontiguousarray(values[:, i]), active)

    def _do_st(self, op, operands, active):
        dtype, sources = numpy_type(op[-1]), _listed(operands[1])
        values = np.stack([self._read(x, dtype, active) for x in sources], axis=1)
        memory, places = self._bytes(op[1], self._address(operands[0], active), values[0].nbytes)
        memory[places] = values.view(np.uint8)

    def _do_bar(self, op, operands, active):
        """All are here."""

    def _do_cp(self, op, operands, active):
        """``cp.async``: noted down, committed in groups, and made by a wait."""
        if op[2] in ("ca", "cg"):
            size = int(operands[2])
            assert op[2] == "ca" or size == 16
            to, source = (self._address(x, active) for x in operands[:2])
            for lane, *copy in zip(active, to, source, strict=True):
                self.copies[lane].append((*copy, size))
            return
        for lane in active:
            if op[2] == "commit_group":
                self.committed[lane].append(self.copies[lane])
                self.copies[lane] = []
            else:
                while len(self.committed[lane]) > int(operands[0]):
                    for copy in self.committed[lane].pop(0):
                        self._copy(*copy)

    def _copy(self, to: int, source: int, size: int) -> None:
        memory, (places,) = self._bytes("shared", np.array([to]), size)
        _, (sources,) = self._bytes("global", np.array([source]), size)
        memory[places] = self.memory[sources]

    def _do_ldmatrix(self, op, operands, active):
        for warp in active.reshape(-1, 32):
            memory, places = self._bytes("shared", self._address(operands[1], warp), 16)
            rows = memory[places].view(np.uint16).reshape(4, 8, 8)
            for target, matrix in zip(_listed(operands[0]), rows, strict=True):
                matrix = matrix.T if "trans" in op else matrix
                self._write(target, np.ascontiguousarray(matrix).view(np.uint32).reshape(32), warp)

    def _do_mma(self, op, operands, active):
        kind, deep = op[-2], int(re.search(r"k(\d+)", op[3])[1])
        of_a, of_b, of_c = FRAGMENTS[kind]
        for warp in active.reshape(-1, 32):
            a, b, c = (
                self._gathered(_listed(x), warp, table, shape, k)
                for x, table, shape, k in zip(
                    operands[1:], (of_a, of_b, of_c), ((16, deep), (deep, 8), (16, 8)), (kind, kind, "f32"),
                    strict=True,
                )
            )  # fmt: skip
            d = (a @ b + c).astype(np.float32)
            for i, target in enumerate(_listed(operands[0])):
                self._write(target, np.array([d[of_c(i, t >> 2, t % 4)] for t in range(32)]), warp)

    def _gathered(self, names, warp, table, shape, kind) -> np.ndarray:
        """The matrix whose fragments lie in registers."""
        matrix = np.full(shape, np.nan)
        words = np.stack([self._read(x, np.dtype("u4"), warp) for x in names], axis=1)
        values = _decoded(words, kind)
        for lane in range(32):
            for i, value in enumerate(values[lane]):
                matrix[table(i, lane >> 2, lane % 4)] = value
        return matrix


def _from_bits(raw: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return raw.astype(f"u{dtype.itemsize}").view(dtype)


def _listed(operand: str) -> list[str]:
    """The registers of ``{...}``, or the one that there is."""
    return re.split(r",\s*", operand.strip("{} "))


def _decoded(words: np.ndarray, kind: str) -> np.ndarray:
    """The numbers that registers hold: one of 32 bits, or a pair of 16."""
    if kind == "bf16":
        halves = words.view(np.uint16).astype(np.uint32) << 16
        return halves.view(np.float32).astype(np.float64)
    if kind == "f16":
        return words.view(np.float16).astype(np.float64)
    return (words & np.uint32(0xFFFFE000) if kind == "tf32" else words).view(np.float32).astype(np.float64)
