"""What the training examples share: options, parameters, batches, progress, and the figure."""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import clgrad as mx
from clgrad import gluon, nd

RIGHT, WRONG, LINE = "#2a7f3f", "#c0392b", "#2b5c8a"


def parser(description: str, *, out: str) -> argparse.ArgumentParser:
    """What every example can be told."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "output" / out, help="figure to write"
    )
    return parser


def options(description: str, *, epochs: int, batch_size: int, out: str) -> argparse.ArgumentParser:
    """Those of the classifiers of images."""
    arguments = parser(description, out=out)
    arguments.add_argument("--epochs", type=positive, default=epochs, help="passes over the images")
    arguments.add_argument("--batch-size", type=positive, default=batch_size, help="images a step")
    arguments.add_argument(
        "--require-accuracy",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="exit with status 1 if fewer of the held-back images are recognised",
    )
    return arguments


def positive(text: str) -> int:
    """The type of options that count something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def show_device() -> None:
    context = mx.current_context()
    device = context.device
    print(f"device: {context}, {device.name} on {device.platform_name} {device.driver_version}")


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"figure: {path}")


def verdict(reached: bool, demand: str) -> int:
    """The exit status, and the reason where it is not 0."""
    if not reached:
        print(f"failed: {demand}", file=sys.stderr)
    return 0 if reached else 1


def weight(outputs: int, *inputs: int) -> nd.NDArray:
    """A weight that learns, drawn so that relu keeps the variance (He et al., 2015)."""
    scale = math.sqrt(2 / math.prod(inputs))
    return learned(nd.random.normal(scale=scale, shape=(outputs, *inputs)))


def learned(array: nd.NDArray) -> nd.NDArray:
    array.attach_grad()
    return array


class Batches:
    """Shuffled batches of some epochs; what is left over in one has its chance in the next."""

    def __init__(self, images, labels, size: int, epochs: int, seed: int):
        if size > len(images):
            sys.exit(f"--batch-size is {size}, but there are only {len(images)} images to train on")
        self.images, self.labels = images, labels
        self.size, self.epochs = size, epochs
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.epochs * (len(self.images) // self.size)

    def __iter__(self):
        for _ in range(self.epochs):
            order = self._rng.permutation(len(self.images))
            for start in range(0, len(order) - self.size + 1, self.size):
                chosen = order[start : start + self.size]
                yield nd.array(self.images[chosen]), nd.array(self.labels[chosen])


class Epochs:
    """The batches that a data loader gives in some epochs."""

    def __init__(self, loader: gluon.data.DataLoader, size: int, epochs: int):
        if not len(loader):
            sys.exit(f"--batch-size is {size}, more than there are to train on")
        self.loader, self.size, self.epochs = loader, size, epochs

    def __len__(self) -> int:
        return self.epochs * len(self.loader)

    def __iter__(self):
        for _ in range(self.epochs):
            yield from self.loader


class Progress:
    """A progress bar over training steps that also keeps the losses."""

    # Reading a value waits for the device, so losses are read some at a time.
    EVERY = 10

    def __init__(self, batches: "Batches | Epochs"):
        self.losses: list[float] = []
        self._batches = batches
        self._pending: list[nd.NDArray] = []

    def __enter__(self) -> "Progress":
        self._bar = tqdm(total=len(self._batches) * self._batches.size, unit=" images", unit_scale=True)
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()

    @property
    def left(self) -> float:
        """Share of the steps that is still to come."""
        return 1 - (len(self.losses) + len(self._pending)) / len(self._batches)

    @property
    def images_per_second(self) -> float:
        """Without the first steps, which build the kernels."""
        steps = len(self.losses) - self._first
        return steps * self._batches.size / (self._now - self._start) if steps else float("nan")

    def update(self, loss: nd.NDArray) -> None:
        """Count a step."""
        self._pending.append(loss)
        if len(self._pending) < self.EVERY and self.left > 0:
            return
        self.losses += [float(value) for value in self._pending]
        self._now = time.perf_counter()
        if self._bar.n == 0:
            self._start, self._first = self._now, len(self.losses)
        self._bar.update(len(self._pending) * self._batches.size)
        self._bar.set_postfix(loss=f"{self.losses[-1]:.3f}")
        self._pending.clear()


def predict(net, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """The class of each image."""
    parts = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return np.concatenate([net(nd.array(part)).argmax(axis=1).asnumpy() for part in parts])


def conclude(args, title, progress, images, labels, predicted, names) -> int:
    """Print how it went and draw it; the exit status."""
    accuracy = float(np.mean(predicted == labels))
    print(f"training: {progress.images_per_second:,.0f} images per second")
    print(f"accuracy: {accuracy:.2%} of {len(labels)} held-back images")
    title = f"{title}: {accuracy:.1%} of {len(labels):,} held-back images recognised"
    draw(args.out, title, progress.losses, args.epochs, images, labels, predicted, names)
    demand = f"an accuracy of {args.require_accuracy:.2%} is required"
    return verdict(accuracy >= args.require_accuracy, demand)


def draw(path: Path, title, losses, epochs, images, labels, predicted, names) -> None:
    """The loss curve, beside some held-back images with their predictions."""
    figure = Figure(figsize=(12, 5), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=14)
    left, right = figure.subfigures(1, 2)
    _draw_losses(left.add_subplot(), losses, epochs)
    _draw_predictions(right, images, labels.astype(int), predicted.astype(int), names)
    save(figure, path)


def _draw_losses(axes, losses, epochs) -> None:
    window = min(len(losses), max(5, len(losses) // 40))
    times = (1 + np.arange(len(losses))) * epochs / len(losses)
    smooth = np.convolve(losses, np.full(window, 1 / window), mode="valid")
    axes.semilogy(times, losses, color=LINE, alpha=0.25, linewidth=0.8, label="each batch")
    axes.semilogy(
        times[window // 2 :][: len(smooth)], smooth, color=LINE, label=f"mean of {window} batches"
    )
    axes.set(title="Training loss", xlabel="epoch", ylabel="cross-entropy", xlim=(0, epochs))
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_predictions(figure, images, labels, predicted, names) -> None:
    rows, columns = 4, 6
    wrong, right = np.flatnonzero(predicted != labels), np.flatnonzero(predicted == labels)
    wrong = wrong[:columns]
    shown = [*wrong, *right[: rows * columns - len(wrong)]]
    figure.suptitle("Predictions: right in green, wrong in red", fontsize=12)
    grid = figure.subplots(rows, columns)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, i in zip(grid.flat, shown, strict=False):
        axes.imshow(images[i, 0], cmap="gray_r")
        said, truth = names[predicted[i]], names[labels[i]]
        if said == truth:
            axes.set_title(said, color=RIGHT, fontsize=9)
        else:
            axes.set_title(f"{said}\n(is {truth})", color=WRONG, fontsize=9)
