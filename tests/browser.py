"""A real Chromium without a window; tests that need it skip where there is none."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")


def opened(page: Path) -> tuple[str, list[str]]:
    """Open a page, without a network, and let its scripts run.

    Returns:
        The document as it is then, and what was said on the console, errors of the page's policy included.
    """
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=5000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    said = re.findall(r"CONSOLE[^\]]*\] (.*)", done.stderr)
    return done.stdout, said
