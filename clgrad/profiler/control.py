"""MXNet's functions of the profiler: configured, switched on and off, and written out by calls.

Each stretch from ``set_state("run")`` to ``set_state("stop")`` is a profile; tables and traces are of all
of them since the last reset.
"""

import os
import threading
import warnings
from pathlib import Path
from typing import Any

from clgrad import files
from clgrad.errors import AbsentError, argument_error
from clgrad.profiler import aggregate, chrome, session
from clgrad.profiler.session import Profile


class _State:
    """What the functions below have set."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.config: dict[str, Any] = {
            "filename": "profile.json",
            "profile_all": False,
            "profile_symbolic": True,
            "profile_imperative": True,
            "profile_memory": True,
            "profile_api": False,
            "continuous_dump": False,
            "dump_period": 1.0,
            "aggregate_stats": False,
        }
        #: Since the last reset; the last one may be on.
        self.profiles: list[Profile] = []
        #: Ends the thread that writes now and then.
        self.quit: threading.Event | None = None

    @property
    def running(self) -> Profile | None:
        """The profile that these functions have switched on."""
        last = self.profiles[-1] if self.profiles else None
        return last if last is not None and last is session.current() else None

    def shows(self, what: str) -> bool:
        """Whether reports are to have something."""
        return self.config["profile_all"] or self.config[what]

    @property
    def shows_launches(self) -> bool:
        """The same of launches: every op is imperative, and a hybridized block's are symbolic."""
        return self.shows("profile_imperative") or self.shows("profile_symbolic")


_state = _State()


def set_config(**kwargs: Any) -> None:
    """Say what is profiled, and where it goes.

    Parameters
    ----------
    filename : str
        What :func:`dump` writes; ``profile.json`` by default.
    profile_all, profile_symbolic, profile_imperative : bool
        With none of them, reports have no launches.
    profile_memory : bool
        Whether reports have the memory in use.
    profile_api, aggregate_stats : bool
        Accepted: there is no API of C below, and sums are always kept.
    continuous_dump, dump_period : bool, float
        Whether to write the file every so many seconds as long as the profiler runs.
    profile_process : str
        ``"worker"``.

    Raises
    ------
    OperatorError
        An argument is unknown, or has a value that it does not take.
    AbsentError
        ``profile_process="server"``: there are no servers.
    """
    _check_process("set_config", kwargs.pop("profile_process", "worker"))
    config = dict(_state.config)
    for key, value in kwargs.items():
        if key not in config:
            accepted = ", ".join((*config, "profile_process"))
            raise argument_error("profiler.set_config", "argument", repr(key), accepted)
        config[key] = _read(key, value)
    _state.config = config


def _read(key: str, value: Any) -> Any:
    if key == "filename":
        if not isinstance(value, str | os.PathLike):
            raise argument_error("profiler.set_config", key, repr(value), "a path")
        return os.fspath(value)
    if key == "dump_period":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise argument_error("profiler.set_config", key, repr(value), "a number of seconds above 0")
        return float(value)
    if value not in (True, False):
        raise argument_error("profiler.set_config", key, repr(value), "True or False")
    return bool(value)


def _check_process(function: str, process: str) -> None:
    if process == "server":
        raise AbsentError(f"profiler.{function}: clgrad has no kvstore servers to profile")
    if process != "worker":
        raise argument_error(f"profiler.{function}", "profile_process", repr(process), "'worker'")


def set_state(state: str = "stop", profile_process: str = "worker") -> None:
    """Switch the profiler on (``"run"``) or off (``"stop"``); it stays as it is if it is so already.

    Parameters
    ----------
    state : {"stop", "run"}
    profile_process : str
        ``"worker"``.

    Raises
    ------
    OperatorError
        There is no such state.
    MXNetError
        A :class:`profile` is on that is not of these functions.

    Examples
    --------
    >>> import clgrad as mx
    >>> mx.profiler.set_config(profile_all=True, aggregate_stats=True)
    >>> mx.profiler.set_state("run")
    >>> y = mx.nd.ones((2, 3)).exp()
    >>> mx.profiler.set_state("stop")
    >>> "exp" in mx.profiler.dumps(reset=True)
    True
    """
    _check_process("set_state", profile_process)
    if state not in ("run", "stop"):
        raise argument_error("profiler.set_state", "state", repr(state), "'run' or 'stop'")
    with _state.lock:
        if state == "stop":
            _stop()
        elif _state.running is None:
            _start()


def _start() -> None:
    # Single times of all the profiles together take no more memory than those of one.
    room = max(0, session.TIMELINE - sum(len(p.ranges) + p.timed for p in _state.profiles))
    profile = Profile(timeline=room)
    profile.start()
    _state.profiles.append(profile)
    if _state.config["continuous_dump"]:
        _state.quit = threading.Event()
        arguments = (_state.quit, _state.config["dump_period"])
        threading.Thread(target=_write_often, args=arguments, name="profiler", daemon=True).start()


def _stop() -> None:
    if _state.quit is not None:
        _state.quit.set()
        _state.quit = None
    running = _state.running
    if running is not None:
        running.stop()


def _write_often(quit_: threading.Event, period: float) -> None:
    while not quit_.wait(period):
        with _state.lock:
            if quit_.is_set():
                return
            try:
                _write()
            except OSError as error:  # a later write may succeed: the disk was full, say
                warnings.warn(f"profiler.dump: {error}", RuntimeWarning, stacklevel=1)


def pause(profile_process: str = "worker") -> None:
    """Note nothing until :func:`resume`; nothing happens if the profiler is off."""
    _check_process("pause", profile_process)
    if _state.running is not None:
        _state.running.pause()


def resume(profile_process: str = "worker") -> None:
    """Go on after :func:`pause`."""
    _check_process("resume", profile_process)
    if _state.running is not None:
        _state.running.resume()


def dump(finished: bool = True, profile_process: str = "worker") -> None:
    """Write what was seen since the last reset as a Chrome trace, to the file of :func:`set_config`.

    Parameters
    ----------
    finished : bool
        Whether to switch the profiler off first.
    profile_process : str
        ``"worker"``.
    """
    _check_process("dump", profile_process)
    with _state.lock:
        if finished:
            _stop()
        _write()


def _write() -> None:
    text = chrome.trace(_state.profiles, _state.shows_launches, _state.shows("profile_memory"))
    files.replace(Path(_state.config["filename"]), text.encode())


def dumps(
    reset: bool = False, format: str = "table", sort_by: str = "total", ascending: bool = False
) -> str:
    """Sums of what was seen since the last reset, as text.

    Parameters
    ----------
    reset : bool
        Whether to begin anew after that.
    format : {"table", "json"}
    sort_by : {"total", "avg", "min", "max", "count"}
        What entries are sorted by in each category.
    ascending : bool
        Whether the smallest comes first.

    Returns
    -------
    str
        In MXNet's form: for each category the entries with count and milliseconds (on the device, of ops),
        and the memory in use when something was launched.

    Raises
    ------
    OperatorError
        There is no such format or order.
    """
    accepted = {"format": ("table", "json"), "sort_by": tuple(aggregate.SORTS)}
    for argument, value in (("format", format), ("sort_by", sort_by)):
        if value not in accepted[argument]:
            choices = ", ".join(map(repr, accepted[argument]))
            raise argument_error("profiler.dumps", argument, repr(value), choices)
    with _state.lock:
        sums = aggregate.sums(_state.profiles, _state.shows_launches, _state.shows("profile_memory"))
        text = aggregate.as_json(sums) if format == "json" else aggregate.as_table(sums, sort_by, ascending)
        if reset:
            running = _state.running is not None
            _stop()
            _state.profiles = []
            if running:
                _start()
    return text


def profiler_set_config(mode: str = "symbolic", filename: str = "profile.json") -> None:
    """Deprecated, as in MXNet: :func:`set_config`."""
    _deprecated("profiler_set_config", "set_config")
    if mode not in ("symbolic", "all"):
        raise argument_error("profiler.profiler_set_config", "mode", repr(mode), "'symbolic' or 'all'")
    set_config(filename=filename, profile_all=mode == "all")


def profiler_set_state(state: str = "stop") -> None:
    """Deprecated, as in MXNet: :func:`set_state`."""
    _deprecated("profiler_set_state", "set_state")
    set_state(state)


def dump_profile() -> None:
    """Deprecated, as in MXNet: :func:`dump`."""
    _deprecated("dump_profile", "dump")
    dump(True)


def _deprecated(name: str, instead: str) -> None:
    message = f"profiler.{name}() is deprecated: use profiler.{instead}()"
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def set_kvstore_handle(handle: object) -> None:
    """Accepted for MXNet's sake: there are no servers to profile."""
