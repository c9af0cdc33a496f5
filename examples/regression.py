"""Linear, logistic and softmax regression from scratch, on data that comes with scikit-learn.

    python examples/regression.py

comes within 1e-7 of the least losses. Each is a formula of nd, its gradient by autograd, and many steps of
gradient descent. The losses are convex, so what they come to is known: least squares have a closed form,
and scikit-learn finds the minimum of the other two with L-BFGS.
"""

import sys
from dataclasses import dataclass

import common
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from clgrad import autograd, nd

MOMENTUM = 0.95
#: Half of it times the squared weights is added to the mean cross-entropy, which so has one minimum.
PENALTY = 0.01


def linear_loss(scores, targets):
    """Half of the mean squared error."""
    return ((scores.reshape((-1,)) - targets) ** 2).mean() / 2


def logistic_loss(scores, targets):
    """Mean cross-entropy of sigmoid(score), in a form that does not overflow: log(1 + exp(s)) - t s."""
    scores = scores.reshape((-1,))
    return (nd.relu(scores) + nd.log(1 + nd.exp(-nd.abs(scores))) - targets * scores).mean()


def softmax_loss(scores, targets):
    """Mean cross-entropy of softmax(scores): the logarithm of its denominator less the target's score."""
    scores = scores - scores.max(axis=1, keepdims=True).detach()
    return (nd.log(nd.exp(scores).sum(axis=1)) - nd.pick(scores, targets)).mean()


@dataclass
class Task:
    """A regression: its data, split in two, and its loss."""

    name: str
    data: tuple[np.ndarray, np.ndarray]
    loss: object
    outputs: int
    rate: float
    penalty: float = PENALTY

    def split(self, seed: int) -> None:
        """Hold a quarter back; features get mean 0 and variance 1 on the rest."""
        x, y = self.data
        parts = train_test_split(x, y, random_state=seed, stratify=y if self.penalty else None)
        scaler = StandardScaler().fit(parts[0])
        self.x, self.x_test = (scaler.transform(part) for part in parts[:2])
        self.y, self.y_test = parts[2:]

    def fit(self, args) -> None:
        """Gradient descent with momentum, on all of the data at each step."""
        x, y = nd.array(self.x), nd.array(self.y)
        self.parameters = [nd.zeros((self.x.shape[1], self.outputs)), nd.zeros((self.outputs,))]
        speeds = [nd.zeros_like(p) for p in self.parameters]
        for parameter in self.parameters:
            parameter.attach_grad()

        @common.capture(args)
        def step():
            weight, bias = self.parameters
            with autograd.record():
                loss = self.loss(nd.dot(x, weight) + bias, y) + self.penalty / 2 * (weight * weight).sum()
            loss.backward()
            for parameter, speed in zip(self.parameters, speeds, strict=True):
                speed[:] = MOMENTUM * speed - self.rate * parameter.grad
                parameter[:] = parameter + speed
            return loss

        with common.Progress(args.steps, name=self.name) as progress:
            for _ in range(args.steps):
                progress.update(loss=step())
        self.losses = progress.curves["loss"]

    def scores(self, x: np.ndarray) -> np.ndarray:
        weight, bias = self.parameters
        return (nd.dot(nd.array(x), weight) + bias).asnumpy()

    def solve(self) -> tuple[float, np.ndarray]:
        """The least loss there is, in float64, and the scores of held-back samples at it."""
        if not self.penalty:
            columns = [np.column_stack([x, np.ones(len(x))]) for x in (self.x, self.x_test)]
            found = np.linalg.lstsq(columns[0], self.y, rcond=None)[0]
            return float(np.mean((columns[0] @ found - self.y) ** 2)) / 2, columns[1] @ found
        model = LogisticRegression(C=1 / (len(self.x) * self.penalty), tol=1e-10, max_iter=10_000)
        model.fit(self.x, self.y)
        likelihood = np.log(model.predict_proba(self.x)[np.arange(len(self.y)), self.y])
        loss = self.penalty / 2 * (model.coef_**2).sum() - likelihood.mean()
        return float(loss), model.decision_function(self.x_test)


def tasks() -> list[Task]:
    x, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    return [
        Task("linear: diabetes", (x, y), linear_loss, outputs=1, rate=0.05, penalty=0),
        Task("logistic: breast cancer", load_breast_cancer(return_X_y=True), logistic_loss, 1, rate=0.05),
        Task("softmax: digits", load_digits(return_X_y=True), softmax_loss, 10, rate=0.1),
    ]


def quality(task: Task, scores: np.ndarray) -> float:
    """The share of held-back variance that is explained, or of classes that are right."""
    y, scores = task.y_test, scores.squeeze()
    if not task.penalty:
        return 1 - float(np.mean((scores - y) ** 2) / np.var(y))
    return float(np.mean((scores > 0 if task.outputs == 1 else scores.argmax(axis=1)) == y))


def draw(done: list[Task], least: list[float], title: str):
    figure = common.figure(title, height=8)
    (upper_left, upper_right), (lower_left, lower_right) = figure.subfigures(2, 2)
    axes = upper_left.add_subplot()
    for task, minimum in zip(done, least, strict=True):
        # Below some 1e-7 of the loss, float32 leaves nothing to see.
        axes.semilogy(np.maximum(task.losses - minimum, 1e-8), label=task.name)
    axes.grid(alpha=0.3)
    axes.set(title="Loss above the least one there is", xlabel="step")
    axes.legend()
    linear, logistic, softmax = done
    axes = upper_right.add_subplot()
    axes.scatter(linear.y_test, linear.scores(linear.x_test), s=12, color=common.BLUE)
    ends = [linear.y_test.min(), linear.y_test.max()]
    axes.plot(ends, ends, color=common.GRAY, linewidth=0.8)
    axes.set(title=linear.name, xlabel="progress of the disease (standardised)", ylabel="foretold")
    axes = lower_left.add_subplot()
    chances = 1 / (1 + np.exp(-logistic.scores(logistic.x_test)[:, 0]))
    shown = [chances[logistic.y_test == c] for c in (0, 1)]
    axes.hist(shown, bins=20, stacked=True, color=[common.RED, common.GREEN], label=["malignant", "benign"])
    axes.set(title=logistic.name, xlabel="foretold chance of being benign", ylabel="held-back patients")
    axes.legend()
    weight = softmax.parameters[0].asnumpy()
    lower_right.suptitle(f"{softmax.name}, weights of each")
    for digit, axes in enumerate(lower_right.subplots(2, 5).flat):
        limit = np.abs(weight).max()
        axes.imshow(weight[:, digit].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set_axis_off()
        axes.set_title(digit)
    return figure


def main(arguments: list[str] | None = None) -> int:
    parser = common.parser(__doc__, "regression")
    parser.add_argument("--steps", type=common.positive, default=1000, help="of gradient descent")
    args = common.begin(parser, arguments)
    done, least, parts = tasks(), [], []
    for task in done:
        task.split(args.seed)
        task.fit(args)
    for task in done:
        minimum, scores = task.solve()
        least.append(minimum)
        measure, source = ("accuracy", "scikit-learn") if task.penalty else ("R²", "closed form")
        ours, theirs = quality(task, task.scores(task.x_test)), quality(task, scores)
        print(
            f"{task.name}: held-back {measure} {ours:.4f} ({source} {theirs:.4f}), "
            f"loss {task.losses[-1]:.6f} ({minimum:.6f})"
        )
        parts.append(f"{task.name.split(':')[0]} {measure} {ours:.3f} ({theirs:.3f})")
    gap = max(float(task.losses[-1]) - minimum for task, minimum in zip(done, least, strict=True))
    title = ", ".join(parts) + "; in brackets by closed form or scikit-learn"
    trained = {
        f"{task.name}, {name}": parameter
        for task in done
        for name, parameter in zip(("weight", "bias"), task.parameters, strict=True)
    }
    curves = {task.name: task.losses for task in done}
    result = f"losses lie at most {gap:.1e} above their minima"
    return common.conclude(args, result, gap, draw(done, least, title), trained, curves)


if __name__ == "__main__":
    sys.exit(main())
