"""The package's public face."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import augury
from augury import choices, lazy
from augury.experiment import rechosen
from augury.experiment.learning import ROWS, TASKS
from augury.experiment.subsampling import NAMES, POLICIES, SCORES
from augury.learned import baselines


def test_every_public_name_can_be_had() -> None:
    assert [name for name in augury.__all__ if getattr(augury, name, None) is None] == []
    assert set(augury.__all__) <= set(dir(augury))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(augury, "divination")


def test_importing_the_module_influence_does_not_hide_the_function() -> None:
    code = "import augury.influence, augury; assert callable(augury.influence) and callable(augury.self_influence)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, augury; assert not {'torch', 'numpy', 'scipy', 'pandas', 'sklearn', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_words_that_settings_and_help_list_are_those_that_the_modules_know() -> None:
    assert choices.BASELINES == baselines.BASELINES
    assert choices.PAPER_TASKS == NAMES
    assert set(choices.PAPER_SCORES) == set(SCORES)
    assert tuple(POLICIES) == choices.PAPER_POLICIES
    assert choices.LEARNING_TASKS == TASKS
    assert tuple(ROWS) == choices.LEARNING_ROWS
    assert choices.RECHOSEN_TASKS == rechosen.NAMES
    assert tuple(rechosen.WAYS) == choices.RECHOSEN_WAYS


def test_a_lazy_module_is_imported_when_one_of_its_names_is_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    colorsys = lazy.module("colorsys")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert "colorsys" not in sys.modules
    assert colorsys.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
    assert "colorsys" in sys.modules
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = colorsys.nothing
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        _ = lazy.module("nowhere").name


def test_lazy_names_of_a_package_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("made_up")
    monkeypatch.setitem(sys.modules, "made_up", package)
    inside = ModuleType("made_up.inside")
    inside.known = value = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up.inside", inside)
    package.__getattr__ = lazy.names("made_up", {"inside": ("known", "promised")})  # type: ignore[method-assign]
    assert package.known is value
    del inside.known
    assert package.known is value
    with pytest.raises(AttributeError, match="'made_up' has no attribute 'other'"):
        _ = package.other
    with pytest.raises(AttributeError, match="promised"):
        _ = package.promised
