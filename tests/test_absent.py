"""Names of MXNet that clgrad lacks raise NotImplementedError with a reason."""

import importlib
import json
import re

import pytest
from golden.record_files import FOLDER

import clgrad as mx
from clgrad import absent, nd
from clgrad.errors import AbsentError, MXNetError

pytestmark = pytest.mark.once

NAMES = json.loads((FOLDER / "names.json").read_text())
SPACES = {space: space.removeprefix("nd.") for space in NAMES if space != "nd.NDArray"}
PRESENT = {
    space: dir(importlib.import_module(f"clgrad.{space}") if space != "nd.random" else nd.random)
    for space in SPACES
}
MISSING = [
    (space, key, name)
    for space, key in SPACES.items()
    for name in NAMES[space]
    if name not in PRESENT[space]
]


@pytest.mark.parametrize(("space", "key", "name"), MISSING, ids=lambda v: str(v))
def test_missing_names(space, key, name):
    module = nd if key == "nd" else getattr(nd, key)
    assert name in absent.REASONS[key], f"MXNet has {space}.{name}: write it, or say why it is missing"
    with pytest.raises(NotImplementedError) as caught:
        getattr(module, name)
    assert str(caught.value) == f"{space}.{name}: {absent.REASONS[key][name]}"
    assert isinstance(caught.value, MXNetError)


@pytest.mark.parametrize(("space", "key"), SPACES.items())
def test_reasons_are_about_names_that_are_missing(space, key):
    assert absent.REASONS[key].keys() == set(NAMES[space]) - set(PRESENT[space])


@pytest.mark.parametrize("name", sorted(absent.REASONS["mx"]))
def test_missing_modules(name):
    with pytest.raises(AbsentError, match=rf"^mx\.{name}: {re.escape(absent.REASONS['mx'][name])}$"):
        getattr(mx, name)
    assert name not in dir(mx)


def test_other_names_are_attribute_errors():
    assert not hasattr(nd, "nonsense")
    assert not hasattr(mx, "nonsense")
    for module in (nd, nd.contrib, nd.sparse, nd.image, nd.random, nd.linalg):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nonsense'"):
            module.nonsense  # noqa: B018


def test_python_knows_which_name_was_meant():
    with pytest.raises(AttributeError) as caught:
        nd.sofmax  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("sofmax", nd)


@pytest.mark.parametrize("name", sorted(absent.REASONS["mx.test_utils"]))
def test_downloads_are_absent(name):
    with pytest.raises(AbsentError, match=rf"^mx\.test_utils\.{name}: clgrad opens no connections"):
        getattr(mx.test_utils, name)


def test_importing_an_absent_name():
    with pytest.raises(AbsentError, match=r"nd\.contrib\.box_nms"):
        from clgrad.nd.contrib import box_nms  # noqa: F401, PLC0415
