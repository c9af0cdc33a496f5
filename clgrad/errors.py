"""Exceptions. Every error that clgrad raises on purpose derives from :class:`MXNetError`."""


class MXNetError(RuntimeError):
    """Base of clgrad's errors; carries MXNet's name so that programs which catch it keep working."""


class DeviceError(MXNetError):
    """No usable OpenCL device, an unknown device name, or a device that lacks what was asked of it."""


class KernelError(MXNetError):
    """A generated kernel does not build or does not launch; the message holds source, options and log."""


class DeviceMemoryError(MXNetError, MemoryError):
    """An allocation that the device refused or cannot hold; the message holds bytes asked and the limit."""


class OperatorError(MXNetError, ValueError):
    """An operator was called with an argument that it does not accept."""


class OperatorTypeError(MXNetError, TypeError):
    """An operator was called with a dtype or a kind of object that it does not accept."""


class AutogradError(MXNetError):
    """Recording, ``backward`` or ``grad`` was used in a way that has no meaning."""


class CaptureError(MXNetError):
    """A captured function does what a replay cannot repeat; the message names the line."""


class AbsentError(MXNetError, NotImplementedError):
    """A name or a feature of MXNet that clgrad does not have; the message says why."""


def argument_error(op: str, argument: str, given: object, accepted: str) -> OperatorError:
    """An error in the house's form: op, argument, what was given, what is accepted."""
    return OperatorError(f"{op}: {argument} is {shortened(str(given))}; accepted: {accepted}")


def shortened(given: str) -> str:
    """What was given, as errors quote it: of long text the beginning and the end."""
    return given if len(given) <= 200 else f"{given[:150]}... ({len(given):,} characters) ...{given[-30:]}"
