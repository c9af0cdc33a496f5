"""What the examples share: options, captured steps, progress, curves, and how they end."""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import clgrad as mx
from clgrad import gluon, nd

GREEN, RED, BLUE, GRAY = "#2a7f3f", "#c0392b", "#2b5c8a", "#808080"


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """The options of every example."""
    parser = argparse.ArgumentParser(
        description=description.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of everything that is random")
    add(
        "--capture",
        choices=("none", "replay", "fuse"),
        default="fuse",
        help="run each step op by op, replay what it launched, or replay it as fewer launches",
    )
    out = Path(__file__).parent / "output" / f"{name}.png"
    add("--out", type=Path, default=out, help="figure to write")
    add("--save", type=Path, metavar="FILE", help="write what was trained, and the curves")
    add("--require", type=float, metavar="RESULT", help="exit with status 1 if the result is worse")
    return parser


def add_passes(parser: argparse.ArgumentParser, *, epochs: int, batch_size: int) -> None:
    """The options of examples that read a dataset several times."""
    parser.add_argument("--epochs", type=positive, default=epochs, help="passes over the data")
    parser.add_argument("--batch-size", type=positive, default=batch_size, help="samples a step")


def positive(text: str) -> int:
    """The type of options that count something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def begin(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """The options, after seeding what is random and saying which device it runs on."""
    args = parser.parse_args(arguments)
    mx.random.seed(args.seed)
    np.random.seed(args.seed)  # the order of samples
    context = mx.current_context()
    device = context.device
    print(f"device: {context}, {device.name} on {device.platform_name} {device.driver_version}")
    return args


def fail(message: str):
    """End the program, where it cannot do what it was asked to."""
    sys.exit(f"{Path(sys.argv[0]).name}: {message}")


def capture(args: argparse.Namespace):
    """Decorate a step of training: what it launches is recorded, and replayed from the third call on."""
    if args.capture == "none":
        return lambda step: step
    return mx.capture(fuse=args.capture == "fuse")


def loader(args: argparse.Namespace, dataset, **options) -> gluon.data.DataLoader:
    """Batches of a dataset, in another order each epoch, which leaves out what fills none."""
    if args.batch_size > len(dataset):
        fail(f"--batch-size is {args.batch_size}, but there are only {len(dataset)} samples to train on")
    return gluon.data.DataLoader(dataset, args.batch_size, shuffle=True, last_batch="discard", **options)


class Progress:
    """A progress bar over steps of training, which keeps what the steps give."""

    #: Reading a value waits for the device, so values are read some at a time.
    EVERY = 20

    def __init__(self, steps: int, unit: str = "step", size: int = 1, name: str | None = None):
        self.steps, self.size = steps, size
        self._options = {"total": steps * size, "unit": f" {unit}s", "unit_scale": True, "desc": name}
        self._read: dict[str, list[np.ndarray]] = defaultdict(list)
        self._pending: list[dict[str, nd.NDArray]] = []
        self._done = 0

    def __enter__(self) -> "Progress":
        self._bar = tqdm(**self._options)
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()

    def update(self, **values: nd.NDArray) -> None:
        """Count a step, which gave these values."""
        self._pending.append(values)
        self._done += 1
        if len(self._pending) < self.EVERY and self._done < self.steps:
            return
        for step in self._pending:
            for name, value in step.items():
                self._read[name].append(value.asnumpy())
        self._bar.set_postfix({name: f"{rows[-1].min():.3f}" for name, rows in self._read.items()})
        self._bar.update(len(self._pending) * self.size)
        self._pending.clear()

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """For each name, the values of all steps: numbers, or rows where steps give several."""
        stacked = {name: np.stack(rows) for name, rows in self._read.items()}
        return {name: rows.ravel() if rows[0].size == 1 else rows for name, rows in stacked.items()}


def draw_curve(axes, values: np.ndarray, *, end: float | None = None, color=BLUE, label: str = "") -> None:
    """Values of all steps in pale, and their running mean; `end` is where the last lies on the x axis."""
    times = (1 + np.arange(len(values))) * ((end or len(values)) / len(values))
    window = max(1, len(values) // 50)
    smooth = np.convolve(values, np.full(window, 1 / window), mode="valid")
    axes.plot(times, values, color=color, alpha=0.25, linewidth=0.7)
    axes.plot(times[window // 2 :][: len(smooth)], smooth, color=color, linewidth=1.5, label=label)
    axes.grid(alpha=0.3)


def draw_images(figure, images: np.ndarray, rows: int, columns: int, titles=()) -> None:
    """Images (n, height, width) from 0, white, to 1, black; a title is a text and its colour."""
    for i, axes in enumerate(figure.subplots(rows, columns).flat):
        axes.set_axis_off()
        if i < len(images):
            axes.imshow(images[i], cmap="gray_r", vmin=0, vmax=1)
        if i < len(titles):
            axes.set_title(titles[i][0], color=titles[i][1], fontsize=9)


def figure(title: str, width: float = 12, height: float = 5) -> Figure:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=13)
    return figure


def conclude(
    args: argparse.Namespace,
    result: str,
    value: float,
    figure: Figure,
    trained: dict[str, nd.NDArray],
    curves: dict[str, np.ndarray],
    *,
    higher_is_better: bool = False,
) -> int:
    """Print the result and write what is to be kept; the exit status."""
    print(f"result: {result}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out)
    print(f"figure: {args.out}")
    if args.save:
        kept = {f"curve: {name}": nd.array(values) for name, values in curves.items()}
        nd.save(str(args.save), {**trained, **kept})
        print(f"trained: {args.save}")
    if args.require is None or (value >= args.require if higher_is_better else value <= args.require):
        return 0
    most = "least" if higher_is_better else "most"
    print(f"failed: {value:g}, where at {most} {args.require:g} is required", file=sys.stderr)
    return 1


def parameters(*nets: gluon.Block) -> dict[str, nd.NDArray]:
    """The parameters of nets, by name."""
    return {p.name: p.data() for net in nets for p in net.collect_params().values()}
