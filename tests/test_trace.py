"""A trace and a table in a person's hands: attributes, suggestions, and what they show of themselves."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest

import parsers
from parsers.schema import Column, Table
from parsers.tables import TABLES
from tests.build import FORMATS, Format, TraceBuilder
from ttinsys.attribution.attribute import OPS


@pytest.fixture
def trace(tmp_path: Path) -> parsers.Trace:
    t = TraceBuilder(EXPORT_PRODUCT_VERSION="2023.4.4")
    main = t.thread()
    t.range(main, "a/b", 0, 100)
    t.kernel(main, "k", launch=(1, 2), gpu=(10, 15))
    return t.load(tmp_path)


def test_every_table_is_an_attribute_that_dir_lists(trace: parsers.Trace) -> None:
    assert {*TABLES, "path", "having", "has", "require"} <= {*dir(trace)}
    for name, table in TABLES.items():
        assert getattr(trace, name).collect_schema() == table.schema


def test_misspelt_table_is_corrected_and_those_there_are_are_listed(trace: parsers.Trace) -> None:
    with pytest.raises(AttributeError) as caught:
        trace.kernel  # noqa: B018
    everything = ", ".join(TABLES)
    assert str(caught.value) == f"a trace has no table 'kernel' (did you mean 'kernels'?): it has {everything}"
    with pytest.raises(AttributeError, match=r"^a trace has no table 'xyzzy': it has kernels, "):
        trace.xyzzy  # noqa: B018
    with pytest.raises(TypeError, match=r"a trace has no table 'kernel' \(did you mean 'kernels'\?\)"):
        trace.having(kernel=trace.kernels)


def test_having_replaces_frames_in_a_new_trace(trace: parsers.Trace) -> None:
    part = trace.having(kernels=trace.kernels.filter(pl.col("start_ns") > 10))
    assert (part.kernels.collect().height, trace.kernels.collect().height) == (0, 1)
    assert part.api_calls is trace.api_calls
    assert part.has("kernels")


def test_trace_is_copied_and_one_without_fields_has_no_table(trace: parsers.Trace) -> None:
    assert copy.copy(trace).kernels.collect().height == 1
    with pytest.raises(AttributeError):
        object.__new__(parsers.Trace).kernels  # noqa: B018


def test_trace_shows_where_it_came_from_and_its_tables_without_reading_events(
    trace: parsers.Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repr(trace) == (
        f"Trace('{trace.path}', sqlite, nsys 2023.4.4, tables: kernels, api_calls, nvtx_events, strings, export_info)"
    )
    shown = trace._repr_html_()
    assert "sqlite, nsys 2023.4.4" in shown
    assert "<td style='text-align:left'>CUPTI_ACTIVITY_KIND_KERNEL</td>" in shown

    def unread(_: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("an event was read")

    blind = trace.having(**{name: pl.LazyFrame().map_batches(unread) for name in ("kernels", "nvtx_events")})
    assert (repr(blind), blind._repr_html_()) == (repr(trace), shown)


def test_trace_of_an_unknown_version_or_with_a_damaged_one_shows_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = TraceBuilder().write(tmp_path / "<b>.sqlite")
    trace = parsers.load(path)
    assert repr(trace) == f"Trace('{path}', sqlite, nsys of an unknown version, tables: export_info)"
    assert "&lt;b&gt;.sqlite</b>: sqlite" in trace._repr_html_()
    path.write_bytes(path.read_bytes()[:5000])
    assert "nsys of an unknown version" in repr(trace)


TIMES = Table(
    "times",
    Column("start_ns", pl.Int64, "Start time on the GPU.", unit="ns"),
    Column("name", pl.String, "Name, which is <b>long</b> " + "and longer " * 12 + "still."),
    doc="one row per moment",
)


def test_table_shows_its_columns_aligned_and_long_meanings_wrapped() -> None:
    assert repr(TIMES).splitlines() == [
        "times: one row per moment",
        "column    dtype   unit  meaning",
        "start_ns  Int64   ns    Start time on the GPU.",
        # The meaning begins in column 24: 27 + 6 x 11 + 3 characters fill the 96 that are left.
        "name      String        Name, which is <b>long</b>" + " and longer" * 6 + " and",
        " " * 24 + "longer and longer and longer and longer and longer and longer still.",
    ]
    shown = TIMES._repr_html_()
    assert "<b>times</b>: one row per moment" in shown
    assert "&lt;b&gt;long&lt;/b&gt;" in shown
    assert shown.count("<tr>") == 3


def test_every_table_shows_each_column_once_and_within_120_characters() -> None:
    for table in (OPS, *TABLES.values()):
        lines = repr(table).splitlines()
        assert [line.split()[0] for line in lines[2:] if not line.startswith(" ")] == list(table.schema)
        assert max(map(len, lines)) <= 120


# Reading


@pytest.mark.parametrize("format", FORMATS)
def test_columns_that_are_absent_are_null_in_every_row(tmp_path: Path, format: Format) -> None:
    t = TraceBuilder()
    for id in range(3):
        t.row("TARGET_INFO_GPU", id=id)
    trace = t.load(tmp_path, format)
    if format == "parquetdir":
        file = trace.path / "TARGET_INFO_GPU.parquet"
        pl.read_parquet(file).drop("name", "cuDevice").write_parquet(file)
        trace = parsers.load(trace.path)
    assert trace.gpus.select("name", "device_id").collect().rows() == [(None, None)] * 3
    assert trace.gpus.select("name").collect().height == 3
    assert trace.gpus.filter(pl.col("name").is_null()).select(pl.len()).collect().item() == 3


@pytest.mark.parametrize("format", FORMATS)
def test_row_numbers_alone_are_as_many_as_rows(tmp_path: Path, format: Format) -> None:
    t = TraceBuilder()
    for id in range(3):
        t.row("TARGET_INFO_GPU", id=id)
    gpus = t.load(tmp_path, format).gpus
    assert gpus.with_row_index("row").select("row").collect()["row"].to_list() == [0, 1, 2]


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("uint64Value", pl.Series([-1], dtype=pl.Int32), "conversion from `i32` to `u64` failed"),
        ("start", pl.Series([1 << 100], dtype=pl.Int128), "conversion from `i128` to `i64` failed"),
    ],
)
def test_value_that_its_column_cannot_hold_is_an_error_that_names_the_table(
    tmp_path: Path, column: str, values: pl.Series, problem: str
) -> None:
    t = TraceBuilder()
    t.mark(t.thread(), "m", 5, payload=2**64 - 1)
    path = t.write(tmp_path / "t", "parquetdir")
    file = path / "NVTX_EVENTS.parquet"
    pl.read_parquet(file).with_columns(values.alias(column)).write_parquet(file)
    with pytest.raises(parsers.UnreadableTrace) as caught:
        parsers.load(path).nvtx_events.collect()
    line = str(caught.value)
    assert line.startswith(f"{path}: table NVTX_EVENTS: {problem}")
    assert line.endswith(": export the report again with `nsys export`")
    assert "\n" not in line


def test_panic_while_casting_is_an_error_that_names_the_table(
    trace: parsers.Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(self: Table, rows: pl.DataFrame, by_alias: object, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        raise pl.exceptions.PanicException("index out of bounds\nnote: run with RUST_BACKTRACE=1")

    monkeypatch.setattr(Table, "conform", panic)
    with pytest.raises(parsers.UnreadableTrace, match="table CUPTI_ACTIVITY_KIND_KERNEL: index out of bounds: export"):
        trace.kernels.collect()
