"""The package's public face."""

from __future__ import annotations

import subprocess
import sys

import augury


def test_every_public_name_can_be_had() -> None:
    assert [name for name in augury.__all__ if getattr(augury, name, None) is None] == []
    assert set(augury.__all__) <= set(dir(augury))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(augury, "divination")


def test_importing_the_module_influence_does_not_hide_the_function() -> None:
    code = "import augury.influence, augury; assert callable(augury.influence) and callable(augury.self_influence)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, augury; assert not {'torch', 'pandas', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
