"""Scopes that switch recording and training mode on and off."""

import functools

from clgrad.tape import state


def is_recording() -> bool:
    """Whether this thread is recording for backward."""
    return state.recording


def is_training() -> bool:
    """Whether this thread is in training mode (Dropout drops, BatchNorm uses the batch)."""
    return state.training


class Scope:
    """Sets recording and training on entry and restores what was there on exit.

    The previous states are a stack of the thread, so one scope object may be entered again while it
    is entered, and by several threads at once.
    """

    def __init__(self, recording: bool | None, training: bool | None):
        self._recording = recording
        self._training = training

    def __enter__(self) -> None:
        state.outer_scopes.append((state.recording, state.training))
        if self._recording is not None:
            state.recording = self._recording
        if self._training is not None:
            state.training = self._training

    def __exit__(self, *exception) -> None:
        state.recording, state.training = state.outer_scopes.pop()


@functools.cache
def scope(recording: bool | None, training: bool | None) -> Scope:
    """The scope that sets these: always the same object, since it may be entered any number of times."""
    return Scope(recording, training)


def record(train_mode: bool = True) -> Scope:
    """A scope in which operations are recorded for backward.

    Parameters
    ----------
    train_mode : bool
        Whether the forward pass is in training mode.

    Examples
    --------
    >>> import clgrad as mx
    >>> x = mx.nd.array([1, 2, 3, 4])
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = x * x + 1
    >>> y.backward()
    >>> print(x.grad)
    <BLANKLINE>
    [2. 4. 6. 8.]
    <NDArray 4 @...>
    """
    return scope(True, bool(train_mode))


def pause(train_mode: bool = False) -> Scope:
    """A scope in which nothing is recorded; in prediction mode by default."""
    return scope(False, bool(train_mode))


def train_mode() -> Scope:
    """A scope in training mode; recording stays as it is."""
    return scope(None, True)


def predict_mode() -> Scope:
    """A scope in prediction mode; recording stays as it is."""
    return scope(None, False)
