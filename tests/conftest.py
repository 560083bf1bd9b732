"""The order of tests, the examples of the fast tier, and a folder for what is made once for all workers."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import settings

from tests import generated
from tests.shared import FEW_EXAMPLES, SESSION_FOLDER
from ttinsys.commands.input_options import FOLDER_VARIABLE

settings.register_profile(FEW_EXAMPLES, max_examples=15, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Try few examples of each property in the fast tier, and make the folder for `tests.shared.made_once`."""
    if "not slow" in config.getoption("markexpr"):
        settings.load_profile(FEW_EXAMPLES)
    os.environ[FOLDER_VARIABLE] = ""  # files of the person who runs the tests change no result
    if not is_worker(config):
        os.environ[SESSION_FOLDER] = tempfile.mkdtemp(prefix="ttinsys-tests-")  # workers inherit it


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder, once all workers have ended."""
    if not is_worker(config):
        shutil.rmtree(os.environ.pop(SESSION_FOLDER))


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for another one, by pytest-xdist."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let idle workers of pytest-xdist take tests from busy ones: tests differ in length by three orders."""
    if config.getoption("numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under pytest-xdist, start the longest tests first, so that none is left alone at the end."""
    if is_worker(config):
        items.sort(key=seconds, reverse=True)


def seconds(item: pytest.Item) -> float:
    """Length of a test, as its marker `slow` gives it; 0 without one."""
    marker = item.get_closest_marker("slow")
    return 0 if marker is None else float(marker.args[0])


def pytest_sessionstart(session: pytest.Session) -> None:
    """Make the generated files again, once: a new analysis needs no other file of its author's."""
    if not is_worker(session.config):
        generated.generate()
