"""Another distribution called `annotate` takes `annotate/__init__.py` away: analysis goes on, and annotate says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from annotate.installation import problem

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample_traces" / "simulated-stable-diffusion-h200_pqtdir"

FOREIGN = "def annotate(**kwargs):\n    return lambda function: function\n"
"""As annotate 2.5.1 of the package index: a decorator."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages: ours."""
    folder = tmp_path_factory.mktemp("site")
    for package in ("ttinsys", "annotate", "parsers"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def install_foreign(site: Path, text: str) -> None:
    """Install the other distribution over ours."""
    (site / "annotate" / "__init__.py").write_text(text)
    info = site / "annotate-2.5.1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: annotate\nVersion: 2.5.1\n")
    (info / "top_level.txt").write_text("annotate\n")
    (info / "RECORD").write_text("annotate/__init__.py,,\n")


def uninstall_foreign(site: Path) -> None:
    """Uninstall it: what it recorded as its own goes."""
    (site / "annotate" / "__init__.py").unlink(missing_ok=True)
    shutil.rmtree(site / "annotate-2.5.1.dist-info", ignore_errors=True)


def python(site: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python on these packages and their dependencies; without `site`, which would find an editable install."""
    path = os.pathsep.join([str(site), sysconfig.get_path("purelib")])
    return subprocess.run(
        [sys.executable, "-S", "-W", "ignore", *arguments],
        cwd=cwd or site.parent,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_analysis_goes_on(site: Path, cwd: Path | None = None) -> None:
    """Labels, data sheets of GPUs and all models are read."""
    roles = python(site, "-m", "ttinsys", "breakdown", str(SAMPLE), "--format", "csv", cwd=cwd)
    assert (roles.returncode, roles.stdout.count("\n")) == (0, 14), roles.stderr
    assert "spatial_attention," in roles.stdout
    ceilings = python(site, "-m", "ttinsys", "roofline", str(SAMPLE), "--by", "model", "--format", "csv", cwd=cwd)
    assert ceilings.returncode == 0, ceilings.stderr
    models = python(site, "-m", "ttinsys", "taxonomy", "--format", "csv", cwd=cwd)
    assert models.returncode == 0, models.stderr
    assert "wan-14b," in models.stdout


@pytest.mark.parametrize(
    "text", [FOREIGN, "raise RuntimeError('not for this Python')\n"], ids=["imported", "not importable"]
)
@pytest.mark.slow(1)
def test_analysis_goes_on_where_another_distribution_replaced_our_file(site: Path, text: str) -> None:
    install_foreign(site, text)
    assert_analysis_goes_on(site)


@pytest.mark.slow(1)
def test_annotate_says_which_distribution_replaced_our_file(site: Path) -> None:
    install_foreign(site, FOREIGN)
    for module in ("run", "sweep", "simulate"):
        done = python(site, "-m", f"annotate.{module}", "--help")
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == (
            f"Error: {site}/annotate/__init__.py belongs to annotate 2.5.1, which replaced that of ttinsys: "
            "pip uninstall annotate && pip install --force-reinstall --no-deps ttinsys\n"
        )


@pytest.mark.slow(1)
def test_analysis_goes_on_and_annotate_says_why_where_the_other_distribution_was_uninstalled(site: Path) -> None:
    uninstall_foreign(site)
    assert_analysis_goes_on(site)
    line = (
        "annotate/__init__.py is missing: another distribution called annotate replaced it and was uninstalled: "
        "pip install --force-reinstall --no-deps ttinsys"
    )
    done = python(site, "-m", "annotate.run", "--list")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", f"Error: {line}\n")
    done = python(site, "-c", "from annotate import annotate")
    assert done.stderr.splitlines()[-1] == f"ImportError: {line}"


@pytest.mark.slow(1)
def test_analysis_goes_on_beside_a_script_called_annotate(site: Path, tmp_path: Path) -> None:
    (tmp_path / "annotate.py").write_text("raise SystemExit('a script of a person, run by mistake')\n")
    assert_analysis_goes_on(site, cwd=tmp_path)


def test_whole_installation_has_no_problem_and_annotate_is_a_function() -> None:
    assert problem() is None
    done = python(ROOT, "-c", "import annotate.annotate")
    assert done.stderr.splitlines()[-1].startswith("ImportError: annotate.annotate is a function, not a module")


def test_analysis_never_imports_the_name_annotate(site: Path) -> None:
    modules = "ttinsys.cli, ttinsys.published.sheets, ttinsys.attribution.labels"
    code = f"import sys, {modules}; print('annotate' in sys.modules)"
    assert python(ROOT, "-c", code).stdout == "False\n"
