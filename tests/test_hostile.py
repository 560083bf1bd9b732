"""Traces of strangers: they may say anything of their ranges, and every command answers in a line or a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from annotate.labels import PREFIX, VERSION
from tests.labelled import DOMAIN, Labelled
from tests.shared import slow
from tests.test_report import hostile
from ttinsys.cli import main
from ttinsys.render import PICTURES
from ttinsys.runner.registry import analysis_names, find

BIG = 2**62


def extremes() -> Labelled:
    """Numbers that no run has: negative, zero, near 2^63, of the wrong type; a range that never closed; a step back."""
    t = Labelled({"model": "stable-diffusion", "size": "full", "request": {"height": 0, "width": -5, "steps": 2**70}})
    t.gpu(name="", memoryBandwidth=0)
    for name, role in (("step", "other"), ("a.core", "spatial_attention"), ("b", "temporal_attention"), ("c", "none")):
        t.module(name, role, attention=role if role.endswith("attention") else None, parameters=2**63)
    t.call("step", 0, 1000, step=-3)
    backwards = [("k", 100, 100), ("softmax", 200, 150), ("gemm", 10, BIG)]
    t.call("a.core", 10, 20, q_len=-5, kv_len=0, flops=-BIG, bytes=-1, dtype=77, gpu=backwards)
    t.call("a.core", 30, 40, q_len=BIG, kv_len=BIG, flops=BIG, bytes=0, dtype=1, gpu=[("flash_fwd", 300, 400)])
    t.call("b", 50, None, flops=BIG, bytes=BIG, dtype=1, gpu=[("sgemm", 500, 600)])
    t.call("c", 60, 70, flops=0, bytes=0, step=BIG, gpu=[("", 700, 800)])
    return t


def many() -> Labelled:
    """A thousand modules with roles and components of their own invention, each in a step of its own."""
    t = Labelled()
    for n in range(1000):
        t.module(f"m{n}", f"role{n}", component=f"part{n}")
        gpu = [(f"kernel{n}", 10 * n, 10 * n + 5)]
        t.call(f"m{n}", 10 * n, 10 * n + 8, step=n, q_len=n + 1, kv_len=n + 1, flops=n, bytes=n + 1, gpu=gpu)
    return t


def nothing() -> Labelled:
    """One call that took no time and computed nothing."""
    t = Labelled()
    t.module("a.core", "self_attention", attention="self_attention")
    t.call("a.core", 0, 10, q_len=1, kv_len=1, flops=0, bytes=0, gpu=[("k", 5, 5)])
    return t


def surrogates() -> Labelled:
    """Text that JSON can escape and no encoding can write: half of a surrogate pair, in a module and in the run."""
    half = "\\ud800"
    t = Labelled()
    t.mark(t.main, f'{_MARK} module {{"name":"a{half}","role":"{half}","cls":"{half}"}}', 0, domain=DOMAIN)
    t.mark(t.main, f'{_MARK} module {{"name":"a.core","role":"self_attention","cls":"{half}"}}', 0, domain=DOMAIN)
    t.mark(t.main, f'{_MARK} run {{"model":"{half}","size":"{half}","request":{{"height":1}}}}', 0, domain=DOMAIN)
    t.call("a.core", 0, 10, q_len=1, kv_len=1, flops=1, bytes=1, gpu=[("k", 5, 9)])
    return t


_MARK = f"{PREFIX}{VERSION}"

each_trace = pytest.mark.parametrize(
    "made",
    [nothing, *map(slow, (hostile, extremes, many, surrogates))],
    ids=lambda made: made.__name__,
)


@each_trace
@pytest.mark.parametrize("name", analysis_names())
@pytest.mark.slow(1)
def test_analysis_answers_with_a_table_and_a_picture_or_in_one_line(
    tmp_path: Path, made: Callable[[], Labelled], name: str
) -> None:
    trace = str(made().write(tmp_path / "run.sqlite"))
    traces = [trace] * find(name).least
    for format in ("table", "markdown"):
        plot = tmp_path / f"{format}.svg"
        done = CliRunner().invoke(main, [name, *traces, "--format", format, "--plot", str(plot)])
        assert done.exit_code in {0, 3}, done.exception
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == (done.exit_code == 3), done.stderr
        assert "schema does not allow" not in done.stderr
        assert not plot.exists() or plot.stat().st_size < 1_000_000


@each_trace
@pytest.mark.slow(2)
def test_page_and_exports_are_made_and_small(tmp_path: Path, made: Callable[[], Labelled]) -> None:
    trace = str(made().write(tmp_path / "run.sqlite"))
    page = tmp_path / "page.html"
    done = CliRunner().invoke(main, ["report", trace, trace, "-o", str(page)])
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert len(text) < 5_000_000
    assert [word for word in (">None<", ">nan<", ">null<", ">inf<") if word in text] == []
    for kind in ("perfetto", "speedscope", "collapsed"):
        done = CliRunner().invoke(main, ["export", "--to", kind, trace])
        assert done.exit_code == 0, done.output


def test_picture_has_a_file_of_its_own_whose_suffix_is_known(tmp_path: Path) -> None:
    trace = str(nothing().write(tmp_path / "run.sqlite"))
    out = tmp_path / "out.json"
    same = CliRunner().invoke(main, ["gaps", trace, "--plot", str(out), "-o", str(out)])
    assert (same.exit_code, out.exists()) == (2, False)
    other = CliRunner().invoke(main, ["gaps", trace, "--plot", str(tmp_path / "x.gif"), "-o", str(out)])
    assert (other.exit_code, out.exists()) == (2, False)
    assert all(f".{suffix}" in other.stderr for suffix in PICTURES)


def test_manifest_of_a_sweep_with_half_a_surrogate_pair_is_read(tmp_path: Path) -> None:
    nothing().write(tmp_path / "run.sqlite")
    (tmp_path / "sweep.json").write_text(
        '{"format": 1, "points": [{"point": {"model": "\\ud800"}, "status": "done", "trace": "run.sqlite"},'
        ' {"point": {"model": "\\udfff"}, "status": "failed", "error": "\\udc00"}]}'
    )
    assert CliRunner().invoke(main, ["breakdown", str(tmp_path)]).exit_code == 0
    done = CliRunner().invoke(main, ["reproduce", str(tmp_path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 3
    assert len(done.stderr.splitlines()) == 2
