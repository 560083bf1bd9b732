"""`import ttinsys`: every analysis is a typed, documented function; options are checked as on the command line."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import altair as alt
import polars as pl
import pytest
from click.testing import CliRunner

import ttinsys
from tests.build import TraceBuilder
from ttinsys.cli import main
from ttinsys.measures.options import OptionError
from ttinsys.measures.series import NotASweep
from ttinsys.render import OutputError
from ttinsys.runner.registry import TooFewTraces, UnknownAnalysis, analysis_names, find
from ttinsys.tables.needs import Lacking

ROOT = Path(__file__).resolve().parents[1]
SIMULATED = ROOT / "sample_traces" / "simulated-stable-diffusion-h200_pqtdir"
SYNTHETIC = ROOT / "sample_traces" / "synthetic-stable-diffusion.sqlite"


@pytest.fixture(scope="module")
def trace() -> ttinsys.Trace:
    return ttinsys.load(SIMULATED)


def test_every_analysis_is_listed_and_has_its_signature_and_docstring() -> None:
    assert {*analysis_names(), "load", "attribute", "ranges", "select", "plot", "report", "OPS"} <= set(dir(ttinsys))
    for name in analysis_names():
        function, analysis = getattr(ttinsys, name), find(name)
        signature = inspect.signature(function)
        assert list(signature.parameters) == ["traces", *analysis.settings]
        assert signature.return_annotation is pl.DataFrame
        assert function.__name__ == name
        for column in analysis.returns.columns:
            assert f"        {column.name}" in function.__doc__
        for option in analysis.options:
            assert f"    {option.name}: " in function.__doc__


def test_choices_of_an_option_are_a_literal() -> None:
    by = inspect.signature(ttinsys.gaps).parameters["by"]
    assert (get_origin(by.annotation), get_args(by.annotation)) == (Literal, ("trace", "component", "step"))
    assert by.default == "component"


@pytest.mark.parametrize("name", [name for name in analysis_names() if find(name).least == 1])
@pytest.mark.slow(1)
def test_python_and_the_command_line_give_the_same_table(name: str, trace: ttinsys.Trace) -> None:
    try:
        frame = getattr(ttinsys, name)(trace)
    except NotASweep:
        return  # it compares several sizes
    done = CliRunner().invoke(main, [name, str(SIMULATED), "--format", "parquet"])
    assert done.exit_code == 0, done.output
    assert pl.read_parquet(io.BytesIO(done.stdout_bytes)).equals(frame)


def test_one_value_stands_for_several_where_an_option_takes_several(trace: ttinsys.Trace) -> None:
    assert ttinsys.breakdown(trace, by="operator").equals(ttinsys.breakdown(trace, by=("operator",)))


def test_wrong_option_is_an_error_that_says_what_there_is(trace: ttinsys.Trace) -> None:
    with pytest.raises(OptionError, match=r"^gaps: by='rol': it takes trace, component, step$"):
        ttinsys.gaps(trace, by="rol")  # type: ignore[arg-type]
    with pytest.raises(
        OptionError, match=r"^gaps: by='steps' \(did you mean 'step'\?\): it takes trace, component, step$"
    ):
        ttinsys.gaps(trace, by="steps")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"^gaps has no option bye \(did you mean 'by'\?\): it takes by, steps_from$"):
        ttinsys.gaps(trace, bye="step")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match=r"^phases: queries='4' is not an integer$"):
        ttinsys.phases(trace, queries="4")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"^roofline: peak: -1 is not a number above 0$"):
        ttinsys.roofline(trace, peak=-1)
    with pytest.raises(OptionError, match=r"^diff: confidence: 0\.4 is not between 50% and 100%"):
        ttinsys.diff(trace, trace, confidence=0.4)


def test_too_few_traces_and_things_that_are_none_are_refused(trace: ttinsys.Trace) -> None:
    with pytest.raises(TooFewTraces, match=r"^diff compares two traces: name them all$"):
        ttinsys.diff(trace)
    with pytest.raises(TypeError, match=r"^breakdown takes traces, as ttinsys\.load\(path\) opens them, not str$"):
        ttinsys.breakdown(str(SIMULATED))  # type: ignore[arg-type]


def test_trace_that_lacks_what_is_needed_is_refused_rather_than_answered_with_nulls() -> None:
    with pytest.raises(Lacking, match="has no call whose FLOPs are known: capture it with"):
        ttinsys.roofline(ttinsys.load(SYNTHETIC))


def test_misspelt_name_gets_a_suggestion_and_the_list() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'brekdown' \(did you mean 'breakdown'\?\)$"):
        ttinsys.brekdown  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(UnknownAnalysis) as caught:
        find("layer")
    assert str(caught.value) == f"no analysis layer (did you mean 'layers'?): there are {', '.join(analysis_names())}"
    assert isinstance(caught.value, KeyError)


@pytest.mark.slow(1)
def test_several_traces_are_one_table_behind_a_column_that_says_which(trace: ttinsys.Trace) -> None:
    both = ttinsys.kernels(trace, ttinsys.load(SYNTHETIC))
    assert both.columns[0] == "trace"
    assert both["trace"].unique(maintain_order=True).to_list() == [str(SIMULATED), str(SYNTHETIC)]
    same = ttinsys.diff(trace, trace, by="role")
    assert same["delta_ns"].to_list() == [0] * same.height


@pytest.mark.slow(1)
def test_selection_by_keywords_is_what_the_filters_of_the_command_line_keep(tmp_path: Path) -> None:
    t = TraceBuilder()
    for pid, device, stream, start in ((10, 0, 7, 100), (10, 0, 8, 200), (20, 1, 7, 300)):
        t.kernel(t.thread(pid, pid + 1), f"k{start}", launch=(start, start + 1), gpu=(start + 10, start + 20),
                 device=device, stream=stream)  # fmt: skip
    trace = t.load(tmp_path)

    def kept(part: ttinsys.Trace) -> list[str]:
        return sorted(ttinsys.attribute(part).collect()["kernel"])

    assert kept(ttinsys.select(trace)) == ["k100", "k200", "k300"]
    assert kept(ttinsys.select(trace, device=0, stream=[7, 8])) == ["k100", "k200"]
    assert kept(ttinsys.select(trace, pid=20)) == ["k300"]
    assert kept(ttinsys.select(trace, time="150ns/250")) == ["k200"]
    assert kept(ttinsys.select(trace, time=(None, 250))) == ["k100", "k200"]
    with pytest.raises(ValueError, match="has no slash"):
        ttinsys.select(trace, time="2s")


@pytest.mark.slow(1)
def test_plot_draws_by_name_and_by_table_and_writes_a_file(trace: ttinsys.Trace, tmp_path: Path) -> None:
    by_name = ttinsys.plot("breakdown", trace, by="operator")
    by_table = ttinsys.plot(ttinsys.breakdown(trace, by="operator"), path=tmp_path / "b.svg")
    assert isinstance(by_name, alt.TopLevelMixin)
    assert by_name.to_dict()["title"] == by_table.to_dict()["title"]
    assert (tmp_path / "b.svg").read_text().startswith("<svg")
    with pytest.raises(OutputError, match="exists: give --force"):
        ttinsys.plot("breakdown", trace, path=tmp_path / "b.svg")
    with pytest.raises(OutputError, match=r"name a file that ends in \.svg"):
        ttinsys.plot("breakdown", trace, path=tmp_path / "b.gif")
    with pytest.raises(TypeError, match="has not the columns of an analysis"):
        ttinsys.plot(pl.DataFrame({"a": [1]}))
    with pytest.raises(TypeError, match="a table is drawn as it is"):
        ttinsys.plot(ttinsys.breakdown(trace), trace)


@pytest.mark.slow(1)
def test_report_is_written_once_unless_forced(trace: ttinsys.Trace, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert ttinsys.report(trace, path=page) == page
    assert "<h2>Findings</h2>" in page.read_text()
    with pytest.raises(OutputError, match="exists"):
        ttinsys.report(trace, path=page)
    with pytest.raises(TypeError, match="at least one trace"):
        ttinsys.report(path=tmp_path / "none.html")


def test_import_costs_neither_polars_nor_the_parsers() -> None:
    heavy = "{'polars', 'parsers', 'altair', 'click'}"
    code = f"import sys, ttinsys; dir(ttinsys); print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
