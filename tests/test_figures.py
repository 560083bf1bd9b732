"""Figures: every analysis draws its own table, in every format, and no name that a stranger chose can break out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import click
import polars as pl
import pytest

import parsers
from parsers.schema import Column, Table
from tests.build import TraceBuilder
from tests.shared import planned
from ttinsys import figures
from ttinsys.analyses.diff import DIFF
from ttinsys.analyses.layers import LAYERS
from ttinsys.cli import main
from ttinsys.figures import draw_figure, save_figure, specification, svg
from ttinsys.figures.style import ABSENT, COLOURS, NothingToDraw
from ttinsys.render import PICTURES, Destination
from ttinsys.runner.registry import analysis_names, find
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import present
from ttinsys.tables.registry import tables_of

SAMPLES = Path(__file__).resolve().parents[1] / "sample_traces"
SAMPLE = SAMPLES / "simulated-stable-diffusion-h200_pqtdir"
SYNTHETIC = SAMPLES / "synthetic-stable-diffusion.sqlite"
STARTS = {"svg": b"<svg", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-", "html": b"<!DOCTYPE html>", "json": b"{"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "a<b>&amp;\"'`|",
    "\x00\x1b[31m\u2028\u202e",
    "x" * 3000,
    "datum.y}${1}",
]

each_figure = pytest.mark.parametrize("name", analysis_names())
"""Run a test once per analysis; figures of other commands, whose tables come from no trace, have tests of their own."""


@cache
def sampled(name: str) -> alt.TopLevelMixin | None:
    """The figure of the sample, or of two captures where it compares; None where these have nothing to draw."""
    analysis = find(name)
    for pair in ((SAMPLE, SYNTHETIC), (SAMPLE, SAMPLE)):
        of = {str(number): tables_of(parsers.load(path)) for number, path in enumerate(pair[: analysis.least])}
        if not all(present(need, tables).collect().item() for tables in of.values() for need in analysis.needs):
            continue
        try:
            return draw_figure(name, analysis.plan(of).collect())
        except (parsers.TraceError, NothingToDraw):
            continue
    return None


def figure(name: str) -> alt.TopLevelMixin:
    chart = sampled(name)
    if chart is None:
        pytest.skip(f"the samples have nothing for {name}")
    return chart


def rows(chart: Any) -> list[list[dict[str, Any]]]:
    """The tables of a specification."""
    return list(specification(chart)["datasets"].values())


def test_every_figure_is_of_an_analysis_or_of_another_command() -> None:
    # An analysis without one is drawn by the default figure.
    assert {*figures.figure_names()} <= {*analysis_names(), *main.list_commands(click.Context(main))}


@each_figure
@pytest.mark.slow(2)
def test_figure_is_drawn_in_every_format(name: str, tmp_path: Path) -> None:
    chart = figure(name)
    assert set(STARTS) == set(PICTURES)
    for format, start in STARTS.items():
        path = tmp_path / f"{name}.{format}"
        save_figure(chart, Destination(format, path))
        assert path.read_bytes().startswith(start)
    page = (tmp_path / f"{name}.html").read_text()
    # One page, whole: nothing in it is fetched.
    outside, _, _ = page.partition("<script")
    assert not re.search(r"\b(src|href)\s*=|@import|url\(", outside)
    assert not re.search(r"""\b(import|fetch|XMLHttpRequest)\s*\(?\s*["'`]https?:""", page)
    assert not re.search(r"""<(script|link|img|iframe)\b[^>]*(src|href)=["']?http""", page)
    assert json.loads((tmp_path / f"{name}.json").read_text())["$schema"].startswith("https://vega.github.io/")


@each_figure
def test_table_without_rows_draws_nothing_and_says_so(name: str) -> None:
    with pytest.raises(NothingToDraw, match=f"--plot: {name} has no row to draw"):
        draw_figure(name, find(name).returns.empty().collect())


@each_figure
@pytest.mark.slow(1)
def test_role_operator_and_part_have_their_colour_in_every_figure(name: str) -> None:
    for field, domain, colours in scales(specification(figure(name))):
        for value, colour in zip(domain, colours, strict=True):
            if value in COLOURS[field]:
                assert colour == COLOURS[field][value], (field, value)
            elif str(value).startswith("("):
                assert colour == ABSENT


def scales(node: Any) -> list[tuple[str, list[Any], list[str]]]:
    """Field, values and colours of each scale of colours in a specification."""
    if isinstance(node, list):
        return [scale for part in node for scale in scales(part)]
    if not isinstance(node, dict):
        return []
    found = [scale for part in node.values() for scale in scales(part)]
    scale = node.get("scale")
    if node.get("field") in COLOURS and isinstance(scale, dict) and "range" in scale and "domain" in scale:
        found.append((node["field"], scale["domain"], scale["range"]))
    return found


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> parsers.Trace:
    t = TraceBuilder()
    main = t.thread()
    for number, name in enumerate(HOSTILE):
        at = 100 * number
        t.range(main, name, at, at + 90)
        t.kernel(main, name, launch=(at + 10, at + 11), gpu=(at + 20, at + 80))
    return t.load(tmp_path_factory.mktemp("hostile"))


@pytest.mark.slow(2)
@pytest.mark.parametrize("name", ["breakdown", "kernels", "layers", "ranges_by_name"])
def test_names_of_strangers_cannot_leave_the_page(name: str, hostile: parsers.Trace, tmp_path: Path) -> None:
    chart = draw_figure(name, analyse(name, hostile))
    for format in PICTURES:
        save_figure(chart, Destination(format, tmp_path / f"x.{format}"))
    page = (tmp_path / "x.html").read_text()
    # Of what ends a script, and of what makes its end not count, there is what the page has of its own.
    plain = tmp_path / "plain.html"
    save_figure(alt.Chart(pl.DataFrame({"x": [1]})).mark_bar().encode(x="x:Q"), Destination("html", plain))
    for tag in ("</script", "<script", "<!--"):
        assert page.lower().count(tag) == plain.read_text().lower().count(tag), tag
    drawn = svg(chart)
    assert "<script" not in drawn
    assert "\x00" not in drawn
    assert "\x1b" not in drawn


# The icicle


def layers_of(rows: Sequence[tuple[str, int, int, str | None]]) -> pl.DataFrame:
    """A table of layers: name, depth, total and role; no path, as for none of them one is needed."""
    frame = pl.DataFrame(rows, schema=["name", "depth", "total_ns", "role"], orient="row")
    return frame.select(
        pl.col(column.name).cast(column.dtype)
        if column.name in frame.columns
        else (pl.col("total_ns") if column.name == "self_ns" else pl.lit(None)).cast(column.dtype).alias(column.name)
        for column in LAYERS.columns
    )


def boxes(frame: pl.DataFrame) -> list[tuple[int, float, float, str]]:
    """Depth, left and right end in ms, and name of each box of an icicle."""
    data = max(rows(draw_figure("layers", frame)), key=len)
    return [(row["depth"], row["from"], row["to"], row["name"]) for row in data]


def test_layer_lies_below_the_one_around_it_and_beside_its_siblings() -> None:
    frame = layers_of(
        [
            ("unet", 0, 70_000_000, "other"),
            ("attn", 1, 40_000_000, "spatial_attention"),
            ("core", 2, 30_000_000, "spatial_attention"),
            ("conv", 1, 20_000_000, "spatial_conv"),
            ("vae", 0, 20_000_000, "other"),
            ("conv", 1, 5_000_000, "spatial_conv"),
            ("(no_range_open)", 0, 10_000_000, None),
        ]
    )
    assert sorted(boxes(frame)) == [
        (0, 0, 70, "unet"),
        (0, 70, 90, "vae"),
        (0, 90, 100, "(no_range_open)"),
        (1, 0, 40, "attn"),
        (1, 40, 60, "conv"),
        (1, 70, 75, "conv"),
        (2, 0, 30, "core"),
    ]


def test_layers_too_small_to_be_seen_are_one_box_of_their_time() -> None:
    # Of 560 pixels for 1 s, a pixel is 1.8 ms.
    small = [("small", 1, 1_000_000, "linear") for _ in range(100)]
    frame = layers_of([("unet", 0, 900_000_000, "other"), ("attn", 1, 500_000_000, "linear"), *small,
                       ("vae", 0, 100_000_000, "other")])  # fmt: skip
    assert sorted(boxes(frame)) == [
        (0, 0, 900, "unet"),
        (0, 900, 1000, "vae"),
        (1, 0, 500, "attn"),
        (1, 500, 600, "…"),
    ]


def test_icicle_has_at_most_400_boxes_and_loses_no_time() -> None:
    wide = [row for n in range(300) for row in (("block", 0, 3_000_000, "other"), ("conv", 1, 2_000_000, "linear"))]
    found = boxes(layers_of(wide))
    assert len(found) <= 400
    assert sum(end - start for depth, start, end, _ in found if depth == 0) == pytest.approx(900)


@pytest.mark.slow(1)
def test_several_traces_are_told_apart() -> None:
    frame = planned("layers", parsers.load(SAMPLE), parsers.load(SYNTHETIC))
    chart = specification(draw_figure("layers", frame))
    assert [part["title"]["text"] for part in chart["vconcat"]] == ["0", "1"]


# Bars


def test_kernels_beyond_the_first_25_are_one_bar(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    for number in range(30):
        t.kernel(
            main,
            f"k{number}<(int)4>(float *)",
            launch=(number, number),
            gpu=(1000 * number, 1000 * number + 30 - number),
        )
    (data,) = rows(draw_figure("kernels", analyse("kernels", t.load(tmp_path))))
    assert len(data) == 26
    assert (data[0]["kernel"], data[-1]["kernel"]) == ("k0<4>", "5 others")
    # 1 + 2 + 3 + 4 + 5 ns.
    assert data[-1]["sum_ms"] == pytest.approx(15e-6)
    assert sum(row["sum_ms"] for row in data) == pytest.approx(465e-6)


def test_names_that_look_the_same_once_shortened_stay_two_bars(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    for number, middle in enumerate("ab"):
        name = "k" * 60 + middle + "k" * 60
        t.kernel(main, name, launch=(number, number), gpu=(1000 * number, 1000 * number + 10 - number))
    (data,) = rows(draw_figure("kernels", analyse("kernels", t.load(tmp_path))))
    assert len({row["kernel"] for row in data}) == 2


def test_ranges_without_time_of_their_own_have_no_bar(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "step", 0, 100)
    t.range(main, "unet", 10, 90)
    t.kernel(main, "gemm", launch=(20, 21), gpu=(30, 40))
    (data,) = rows(draw_figure("ranges_by_name", analyse("ranges_by_name", t.load(tmp_path))))
    assert [(row["range"], row["self_ms"], row["total_ms"]) for row in data] == [("unet", 1e-5, 1e-5)]


# Tables without a figure of their own

LATENCY = Table(
    "latency",
    Column("path", pl.String, "Module path."),
    Column("start_ns", pl.Int64, "First start.", unit="ns"),
    Column("share", pl.Float64, "Share of all kernels.", unit="ratio"),
    Column("queue_ns", pl.Int64, "Median time between launch and start.", unit="ns"),
    Column("sum_ns", pl.Int64, "Sum of durations.", unit="ns"),
)


def latency(count: int, **columns: Any) -> pl.DataFrame:
    """`LATENCY` of layers that wait 1, 2, 3 ms and so on, and start at some time."""
    frame = pl.DataFrame(
        {
            "path": [f"unet/layer{number}" for number in range(count)],
            "start_ns": [10**9] * count,
            "queue_ns": [1_000_000 * (number + 1) for number in range(count)],
        }
    )
    return frame.with_columns(**columns)


def bars(frame: pl.DataFrame, table: Table | None = LATENCY) -> list[tuple[str, str]]:
    """Labels and numbers of the bars of the default figure, from above."""
    (data,) = rows(draw_figure("latency", frame, table))
    return [(row["label"], row["shown"]) for row in data]


def test_table_without_a_figure_of_its_own_is_drawn_as_bars_of_its_first_duration() -> None:
    assert "latency" not in figures.figure_names()
    chart = specification(draw_figure("latency", latency(2), LATENCY))
    assert chart["title"] == {"text": "Latency: queue (ms)", "subtitle": "Median time between launch and start."}
    # Moments are no durations.
    assert bars(latency(2)) == [("unet/layer1", "2.000"), ("unet/layer0", "1.000")]


def test_names_of_shared_modules_are_no_figures() -> None:
    assert {"default", "style"}.isdisjoint(figures.figure_names())


def test_rows_beyond_the_first_25_are_one_bar_whose_kind_depends_on_what_may_be_added() -> None:
    # Of 30 layers the five with the least wait 1 to 5 ms: medians are not added up.
    assert bars(latency(30))[-2:] == [("unet/layer5", "6.000"), ("5 others: at most", "5.000")]
    summed = latency(30).rename({"queue_ns": "sum_ns"})
    assert bars(summed)[-1] == ("5 others", "15.000")


def test_table_without_durations_is_drawn_by_its_first_unit_and_without_one_by_its_first_number() -> None:
    frame = pl.DataFrame({"path": ["a", "b"], "device": [7, 8], "ops": [1, 2000], "share": [0.25, 0.75]})
    assert bars(frame) == [("b", "75.0"), ("a", "25.0")]
    assert bars(frame.drop("share"), None) == [("b", "2,000"), ("a", "1")]


def test_undeclared_columns_have_the_unit_that_their_name_tells() -> None:
    assert bars(pl.DataFrame({"key": ["a"], "wait_ns": [1500]}), None) == [("a", "1.500")]


def test_bar_is_labelled_by_the_texts_that_tell_rows_apart() -> None:
    frame = latency(2, kind=pl.lit("kernel"), role=pl.Series([None, "linear"]))
    assert [label for label, _ in bars(frame)] == ["unet/layer1 · linear", "unet/layer0"]
    untold = pl.DataFrame({"step": [0, 1], "queue_ns": [2_000_000, 1_000_000]})
    assert [label for label, _ in bars(untold)] == ["step 0", "step 1"]
    assert [label for label, _ in bars(untold.drop("step"))] == ["row 1", "row 2"]


def test_names_that_look_the_same_stay_two_bars_of_the_default_figure() -> None:
    frame = pl.DataFrame({"path": ["k" * 60 + letter + "k" * 60 for letter in "ab"], "queue_ns": [2_000, 1_000]})
    first, second = (label for label, _ in bars(frame))
    assert (len(first), second) == (54, f"{first} (2)")


def test_each_of_several_traces_has_its_bars() -> None:
    frame = pl.concat([latency(2, trace=pl.lit(name)).select("trace", pl.exclude("trace")) for name in ("a", "b")])
    chart = specification(draw_figure("latency", frame, LATENCY))
    assert [part["title"]["text"] for part in chart["vconcat"]] == ["a", "b"]


@pytest.mark.parametrize("values", [[0, 0], [None, None], [math.nan, math.inf]])
def test_table_without_a_number_to_draw_says_so(values: list[float | None]) -> None:
    frame = pl.DataFrame({"path": ["a", "b"], "mean_ns": pl.Series(values, dtype=pl.Float64)})
    with pytest.raises(NothingToDraw, match="--plot: latency has no number to draw"):
        draw_figure("latency", frame)


@pytest.mark.slow(2)
def test_names_of_strangers_in_the_default_figure_cannot_leave_the_page(tmp_path: Path) -> None:
    frame = pl.DataFrame({"path": HOSTILE, "queue_ns": [1 + number for number in range(len(HOSTILE))]})
    chart = draw_figure("latency", frame, LATENCY)
    for format in PICTURES:
        save_figure(chart, Destination(format, tmp_path / f"x.{format}"))
    assert "<script>alert" not in (tmp_path / "x.html").read_text()
    assert not {"<script", "\x00", "\x1b"} & {part for part in ("<script", "\x00", "\x1b") if part in svg(chart)}


# Signs


def test_difference_that_rounds_to_zero_has_no_minus_sign() -> None:
    frame = pl.DataFrame(
        {"trace": "b", "by": by, "key": key, "change": "less", "before_ns": 5_000, "after_ns": 4_999, "delta_ns": -1}
        for by, key in (("total", "(all)"), ("layer", "unet"))
    )
    absent = [column for column in DIFF.columns if column.name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, column.dtype).alias(column.name) for column in absent)
    drawn = draw_figure("diff", frame)
    assert "+0.00" in svg(drawn)
    # Vega writes U+2212.
    assert not re.search("[-\u2212]0[.]0*[^0-9.]", svg(drawn))
    assert specification(drawn)["title"]["subtitle"] == ["all: 0.01 ms before, 0.00 ms after, +0.00 ms"]
