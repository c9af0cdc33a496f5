"""Mako templates to OpenCL C source."""

import functools
from pathlib import Path

import mako.exceptions
from mako.lookup import TemplateLookup

from clgrad.errors import KernelError

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

    Raises
    ------
    KernelError
        The template is missing or uses a name that was not passed; the message points at its line.
    """
    try:
        return _lookup().get_template(f"{template}.cl.mako").render(**parameters)
    except Exception as error:
        detail = mako.exceptions.text_error_template().render()
        raise KernelError(f"template {template}.cl.mako does not render: {error}\n{detail}") from error
