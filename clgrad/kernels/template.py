"""Mako templates to OpenCL C source."""

import functools
import re
from pathlib import Path

import mako.exceptions
from mako.lookup import TemplateLookup

from clgrad.errors import KernelError

_DOUBLE = re.compile(r"\bdouble\d*\b")
_FP64 = "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n"

_PACKAGE = Path(__file__).resolve().parents[1]


def template_dir() -> Path:
    """Folder of the templates: inside an installed wheel, beside the package in a checkout."""
    installed = _PACKAGE / "templates"
    return installed if installed.is_dir() else _PACKAGE.parent / "templates"


@functools.cache
def _lookup() -> TemplateLookup:
    return TemplateLookup(
        directories=[str(template_dir())],
        strict_undefined=True,
        filesystem_checks=False,
        imports=["import numpy as np", "from clgrad.kernels import expr"],
    )


def render(template: str, /, **parameters: object) -> str:
    """Render ``templates/<template>.cl.mako``; an undefined name in the template is an error.

    Double precision is asked for only where it is used: so what does not use it is the same source, and
    the same program in the cache, whether or not the device has it.

    Raises
    ------
    KernelError
        The template is missing or uses a name that was not passed; the message points at its line.
    """
    try:
        source = _lookup().get_template(f"{template}.cl.mako").render(**parameters)
    except Exception as error:
        detail = mako.exceptions.text_error_template().render()
        raise KernelError(f"template {template}.cl.mako does not render: {error}\n{detail}") from error
    return _FP64 + source if _DOUBLE.search(source) else source
