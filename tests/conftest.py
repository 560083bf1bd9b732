"""What holds for all tests."""

from __future__ import annotations

import pytest

from tests import generated


def pytest_sessionstart(session: pytest.Session) -> None:
    """Make the generated files again, once: a new analysis needs no other file of its author's."""
    if not hasattr(session.config, "workerinput"):  # under xdist, the one that starts the workers
        generated.generate()
