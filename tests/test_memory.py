"""Tables that do not fit into memory are refused before they are decoded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import parsers
from parsers import memory
from tests.build import TraceBuilder

GIB = 1 << 30


def thousand(folder: Path) -> Path:
    """A trace of a thousand marks, whose text takes 100 bytes each."""
    t = TraceBuilder()
    main = t.thread()
    for at in range(1000):
        t.mark(main, f"{at:0100}", at)
    return t.write(folder / "t", "parquetdir")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 40,000 free bytes, for which 10,000 are a lot."""
    monkeypatch.setattr(memory, "LARGE_BYTES", 10_000)
    monkeypatch.setattr(memory, "available_bytes", lambda: 40_000)


def test_table_that_does_not_fit_is_refused_with_both_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = thousand(tmp_path)
    # Start and end of a thousand events take 16,000 bytes.
    monkeypatch.setattr(memory, "LARGE_BYTES", 15_999)
    monkeypatch.setattr(memory, "available_bytes", lambda: 15_999)
    monkeypatch.setattr(memory, "_gib", lambda size: f"{size:,.0f} B")
    with pytest.raises(parsers.UnreadableTrace) as caught:
        parsers.load(path).nvtx_events.select("start_ns", "end_ns").collect()
    assert str(caught.value) == (
        f"{path}/NVTX_EVENTS.parquet: 1,000 rows of start, end take 16,000 B of memory, and 15,999 B are free: "
        "read it on a machine with more memory, or capture a shorter part"
    )
    monkeypatch.setattr(memory, "available_bytes", lambda: 16_000)
    assert parsers.load(path).nvtx_events.select("start_ns", "end_ns").collect().height == 1000


@pytest.mark.usefixtures("small")
def test_only_the_columns_of_the_query_count(tmp_path: Path) -> None:
    events = parsers.load(thousand(tmp_path)).nvtx_events
    # Five columns of 8 bytes fit exactly; the row number is no column of the file.
    columns = ["start_ns", "end_ns", "event_type", "domain_id", "global_tid"]
    assert events.select(*columns, "row_id").collect().height == 1000
    with pytest.raises(parsers.UnreadableTrace, match="1,000 rows of "):
        events.select(*columns, "category_id").collect()


@pytest.mark.usefixtures("small")
def test_text_counts_with_its_bytes(tmp_path: Path) -> None:
    # Views of 16 bytes would fit; the text beside them takes 104 more, with its lengths.
    with pytest.raises(parsers.UnreadableTrace, match="1,000 rows of text take"):
        parsers.load(thousand(tmp_path)).nvtx_events.select("text").collect()


def test_table_is_read_where_nobody_knows_how_much_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LARGE_BYTES", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    assert parsers.load(thousand(tmp_path)).nvtx_events.collect().height == 1000


def test_metadata_that_states_more_rows_than_any_machine_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 64 * GIB)
    # 10**15 rows of 16 bytes.
    with pytest.raises(parsers.UnreadableTrace, match=r"take 14,901,161\.2 GiB of memory, and 64\.0 GiB are free"):
        memory.refuse_too_large(tmp_path / "x", {"a": pl.Int64(), "b": pl.Int64()}, ["a", "b"], rows=10**15)


def test_small_tables_are_read_without_pyarrow(tmp_path: Path) -> None:
    path = thousand(tmp_path)
    code = f"import sys, parsers; parsers.load({str(path)!r}).nvtx_events.collect(); print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("dtype", "width"),
    [(pl.Int64(), 8), (pl.UInt32(), 4), (pl.Int128(), 16), (pl.Float32(), 4), (pl.Boolean(), 1 / 8), (pl.String(), 16)],
)
def test_width_of_a_value(dtype: pl.DataType, width: float) -> None:
    assert memory._width(dtype) == width


# What is free


def system(folder: Path, **files: str) -> tuple[Path, Path]:
    """Folders that look like /proc and /sys/fs/cgroup; in `files`, `__` stands for a slash and `DOT` for a dot."""
    for name, text in {"proc__meminfo": "MemTotal: 9 kB\nMemAvailable: 8388608 kB\n", **files}.items():
        file = folder / name.replace("__", "/").replace("DOT", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "proc", folder / "cg"


def test_machine_tells_what_is_free(tmp_path: Path) -> None:
    assert memory.available_bytes(*system(tmp_path)) == 8 * GIB


def test_nobody_tells_what_is_free(tmp_path: Path) -> None:
    assert memory.available_bytes(tmp_path / "no", tmp_path / "no") is None


@pytest.mark.parametrize(("limit", "free"), [("4294967296", 4 - 3 + 1), ("max", 8), ("1", 0)])
def test_control_group_of_version_2_limits_it(tmp_path: Path, limit: str, free: int) -> None:
    folders = system(
        tmp_path,
        proc__self__cgroup="0::/pod/app\n",
        cg__pod__memoryDOTmax=limit,
        cg__pod__memoryDOTcurrent=str(3 * GIB),
        # A gibibyte is cached of files, and given up where memory is short.
        cg__pod__memoryDOTstat=f"anon 5\ninactive_file {GIB}\n" if limit != "1" else "",
        cg__pod__app__memoryDOTmax="max",
    )
    assert memory.available_bytes(*folders) == free * GIB


def test_control_group_of_version_1_limits_it(tmp_path: Path) -> None:
    folders = system(
        tmp_path,
        proc__self__cgroup="5:cpu:/\n4:memory:/job\n0::/\n",
        cg__memory__job__memoryDOTlimit_in_bytes=str(6 * GIB),
        cg__memory__job__memoryDOTusage_in_bytes=str(5 * GIB),
        cg__memory__job__memoryDOTstat=f"inactive_file 7\ntotal_inactive_file {2 * GIB}\n",
        cg__memory__memoryDOTlimit_in_bytes="9223372036854771712",
        cg__memory__memoryDOTusage_in_bytes=str(20 * GIB),
    )
    assert memory.available_bytes(*folders) == 3 * GIB
