"""Whether the package `annotate` is ours.

The package index has another distribution called `annotate`. Installed after this one it replaces
`annotate/__init__.py`; uninstalled it removes that file, and Python then sees a namespace package. Our other files stay
where they are, so that they can say what happened.
"""

from __future__ import annotations

import importlib
from importlib.metadata import packages_distributions, version

OURS = "ttinsys"
_REINSTALL = f"pip install --force-reinstall --no-deps {OURS}"


def problem() -> str | None:
    """What is wrong with the installation and how to mend it, in one line; None where nothing is."""
    package = importlib.import_module("annotate")
    if getattr(package, "DISTRIBUTION", None) == OURS:
        return None
    if getattr(package, "__file__", None) is None:
        return (
            "annotate/__init__.py is missing: another distribution called annotate replaced it and was uninstalled: "
            f"{_REINSTALL}"
        )
    others = sorted({name for name in packages_distributions().get("annotate", []) if name != OURS})
    owner = " and ".join(f"{name} {version(name)}" for name in others) or "another distribution"
    uninstall = f"pip uninstall {' '.join(others)} && " if others else ""
    return f"{package.__file__} belongs to {owner}, which replaced that of {OURS}: {uninstall}{_REINSTALL}"
