"""Counters of Nsight Compute by layer: by hand on a small profile and trace, and that nothing of a profile is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import parsers
from parsers.ncu import KERNEL_METRICS, parse
from tests.labelled import Labelled
from tests.shared import each_capture
from tests.test_ncu import raw, row
from ttinsys.cli import main
from ttinsys.figures import draw_figure, specification
from ttinsys.figures.style import NothingToDraw
from ttinsys.measures.counters import CACHE, MATCHES, counters
from ttinsys.tables.registry import tables_of

SPATIAL, TEMPORAL = "spatial_attention", "temporal_attention"
CORE = ("sgemm", "softmax_warp", "sgemm")


def unet(folder: Path) -> parsers.Trace:
    """A spatial and a temporal attention, unfused, and a convolution: seven kernels."""
    t = Labelled()
    for name, role in (("unet.attn1.core", SPATIAL), ("unet.attn2.core", TEMPORAL)):
        t.module(name, role, attention=role)
    t.module("unet.conv", "spatial_conv")
    t.call("unet.conv", 0, 10, gpu=[("implicit_convolve_sgemm", 100, 200)])
    t.call("unet.attn1.core", 20, 30, gpu=[(name, 300 + 10 * n, 305 + 10 * n) for n, name in enumerate(CORE)])
    t.call("unet.attn2.core", 40, 50, gpu=[(name, 400 + 10 * n, 405 + 10 * n) for n, name in enumerate(CORE)])
    return t.load(folder)


def profile(*kernels: tuple[str, str | None, int, float | None]) -> pl.DataFrame:
    """Kernels with name, innermost range, duration and L1 hit ratio; each reads 100 bytes and writes 10."""
    rows = [
        {
            "launch": number, "pid": 10, "kernel": kernel, "grid": "1x1x1", "block": "128x1x1",
            "ranges": [{"domain": "ttinsys", "name": "unet"}, {"domain": "ttinsys", "name": module},
                       {"domain": "cudnn", "name": "conv"}] if module else [],
            "duration_ns": duration, "l1_hit_ratio": ratio, "l2_hit_ratio": 0.5,
            "dram_read_bytes": 100, "dram_write_bytes": 10,
        }
        for number, (kernel, module, duration, ratio) in enumerate(kernels)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=KERNEL_METRICS.schema)


IN_RANGES = (
    ("sgemm", "unet.attn2.core", 10, 0.1), ("softmax_warp", "unet.attn2.core", 20, 0.2),
    ("sgemm", "unet.attn2.core", 30, 0.3), ("sgemm", "unet.attn1.core", 40, 0.4),
    ("softmax_warp", "unet.attn1.core", 50, 0.5), ("sgemm", "unet.attn1.core", 60, None),
)  # fmt: skip


def told(frame: pl.DataFrame, *columns: str) -> set[tuple[object, ...]]:
    return set(frame.select(columns).rows())


def test_layer_is_that_of_the_innermost_annotated_range_and_libraries_open_ranges_of_their_own(tmp_path: Path) -> None:
    frame = counters(profile(*IN_RANGES), tables_of(unet(tmp_path)))
    assert frame.schema == CACHE.schema
    assert told(frame, "operator", "role", "part", "instances", "sum_ns", "l1_hit_ratio") == {
        ("gemm", TEMPORAL, "qk", 1, 10, 0.1), ("softmax", TEMPORAL, "softmax", 1, 20, 0.2),
        ("gemm", TEMPORAL, "av", 1, 30, 0.3), ("gemm", SPATIAL, "qk", 1, 40, 0.4),
        ("softmax", SPATIAL, "softmax", 1, 50, 0.5), ("gemm", SPATIAL, "av", 1, 60, None),
    }  # fmt: skip
    assert set(frame["matched_by"]) == {"nvtx"}


def test_mean_is_weighted_by_duration_and_the_median_is_not(tmp_path: Path) -> None:
    conv = [("implicit_convolve_sgemm", "unet.conv", duration, ratio)
            for duration, ratio in ((10, 0.1), (20, 0.2), (70, 0.9), (1000, None))]  # fmt: skip
    frame = counters(profile(*conv), tables_of(unet(tmp_path)))
    # (1 + 4 + 63) / 100; the kernel without a rate has no weight, and its time counts.
    assert frame["l1_hit_ratio"].to_list() == [pytest.approx(0.68)]
    assert frame["l1_median_ratio"].to_list() == [0.2]
    assert frame.select("instances", "sum_ns", "dram_read_bytes", "dram_write_bytes").row(0) == (4, 1100, 400, 40)


@pytest.mark.slow(1)
def test_launches_find_their_layer_by_their_order_where_there_is_no_range(tmp_path: Path) -> None:
    kernels = profile(*((name, None, 10, 0.5) for name in (*CORE, *CORE, "sgemm", "implicit_convolve_sgemm", "new")))
    frame = counters(kernels, tables_of(unet(tmp_path)))
    assert told(frame, "operator", "role", "part", "matched_by", "instances") == {
        ("gemm", SPATIAL, "qk", "order", 1), ("gemm", SPATIAL, "av", "order", 1),
        ("gemm", TEMPORAL, "qk", "order", 1), ("gemm", TEMPORAL, "av", "order", 1),
        ("softmax", SPATIAL, "softmax", "order", 1), ("softmax", TEMPORAL, "softmax", "order", 1),
        ("conv", "spatial_conv", None, "order", 1),
        ("gemm", None, None, "no_annotated_range", 1), ("other", None, None, "no_annotated_range", 1),
    }  # fmt: skip
    by_order = counters(kernels, tables_of(unet(tmp_path)), match="order")
    assert by_order.filter(pl.col("matched_by") == "not_in_trace")["instances"].sum() == 2
    by_range = counters(kernels, tables_of(unet(tmp_path)), match="nvtx")
    assert set(by_range["matched_by"]) == {"no_annotated_range"}


def test_launches_of_another_grid_are_counted_apart(tmp_path: Path) -> None:
    t = Labelled()
    for number, role in enumerate(("spatial_conv", "linear")):
        t.module(f"unet.{role}", role)
        range_id = t.range(t.main, f"unet.{role}", 100 * number, 100 * number + 50, domain=3)
        assert range_id
        t.kernel(t.main, "sgemm", launch=(100 * number + 1,) * 2, gpu=(number, number + 1), grid=(number + 1, 1, 1))
    kernels = profile(("sgemm", None, 1, 0.5)).with_columns(pl.lit("2x1x1").alias("grid"))
    assert counters(kernels, tables_of(t.load(tmp_path)))["role"].to_list() == ["linear"]


def test_launch_that_is_in_no_layer_of_the_trace_either_says_so(tmp_path: Path) -> None:
    t = Labelled()
    t.kernel(t.main, "sgemm", launch=(1, 1), gpu=(20, 30))
    frame = counters(profile(("sgemm", None, 1, 0.5)), tables_of(t.load(tmp_path)), match="order")
    assert frame.select("role", "matched_by").rows() == [(None, "no_annotated_range")]


@pytest.mark.parametrize(
    ("ncu", "nsys"),
    [
        ("void k<(int)4, float>(float *)", "void k<4, float>(float*)"),
        ("k<(bool)1>(int)", "void k<(bool)1>(int)"),
        ("k", "void k<4>(float*)"),
    ],
)
def test_names_are_the_same_however_they_are_spelled(tmp_path: Path, ncu: str, nsys: str) -> None:
    t = Labelled()
    t.module("unet.conv", "spatial_conv")
    t.call("unet.conv", 0, 10)
    t.kernel(t.main, nsys, short_name="k", launch=(1, 1), gpu=(20, 30))
    assert counters(profile((ncu, None, 1, 0.5)), tables_of(t.load(tmp_path)))["role"].to_list() == ["spatial_conv"]


def test_without_a_trace_rows_are_of_modules_and_say_why_they_have_no_role() -> None:
    frame = counters(profile(*IN_RANGES, ("memset", None, 5, 0.1)))
    assert told(frame, "operator", "role", "module", "matched_by", "instances") == {
        ("gemm", None, "unet.attn1.core", "no_trace", 2), ("gemm", None, "unet.attn2.core", "no_trace", 2),
        ("softmax", None, "unet.attn1.core", "no_trace", 1), ("softmax", None, "unet.attn2.core", "no_trace", 1),
        ("other", None, None, "no_annotated_range", 1),
    }  # fmt: skip
    assert set(counters(profile(*IN_RANGES), match="order")["matched_by"]) == {"no_trace"}


def of(trace: parsers.Trace) -> pl.DataFrame:
    """A profile of the kernels of a trace, without ranges."""
    ops = tables_of(trace)["ops"].filter(pl.col("kind") == "kernel").sort("api_start_ns", "start_ns", nulls_last=True)
    size = {
        name: pl.format("{}x{}x{}", *(f"{name}_{axis}" for axis in "xyz")).alias(name) for name in ("grid", "block")
    }
    return ops.select(
        pl.int_range(pl.len()).alias("launch"), "pid", "kernel", *size.values(),
        pl.lit(None, KERNEL_METRICS.schema["ranges"]).alias("ranges"), "duration_ns",
        pl.lit(0.25).alias("l1_hit_ratio"), pl.lit(0.75).alias("l2_hit_ratio"),
        pl.col("start_ns").mod(1000).alias("dram_read_bytes"), pl.lit(7, pl.Int64).alias("dram_write_bytes"),
    ).collect()  # fmt: skip


@each_capture
def test_instances_time_and_bytes_add_up_to_those_of_the_profile(capture: Path) -> None:
    trace = parsers.load(capture)
    kernels = of(trace)
    tables = tables_of(trace)
    for match in ("auto", "nvtx", "order"):
        frame = counters(kernels, tables, match=match)
        assert frame["instances"].sum() == kernels.height
        for name, whole in (("sum_ns", "duration_ns"), ("dram_read_bytes", "dram_read_bytes")):
            assert frame[name].sum() == kernels[whole].sum(), (match, name)
        assert frame["dram_write_bytes"].sum() == 7 * kernels.height
        assert set(frame["matched_by"]) <= set(MATCHES)
        assert frame["l1_hit_ratio"].drop_nulls().to_list() == [pytest.approx(0.25)] * frame["l1_hit_ratio"].count()
        # A profile of the very trace finds every launch again.
        assert match != "order" or "not_in_trace" not in set(frame["matched_by"])


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["cache", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


def written(folder: Path, *, nvtx: Sequence[str] = ("", "", "")) -> Path:
    path = folder / "profile.csv"
    values = ["1", "1", "2", "25", "75"]
    path.write_text(raw(*(row(n, name, values, nvtx=nvtx[n], grid="(1, 1, 1)") for n, name in enumerate(CORE))))
    return path


@pytest.mark.slow(1)
def test_command_writes_what_the_library_returns(tmp_path: Path) -> None:
    path = written(tmp_path)
    code, out, err = run(path, "--format", "csv", "--plot", tmp_path / "cache.svg")
    expected = counters(parse(path.read_bytes(), path))
    assert (code, out) == (0, expected.write_csv())
    wrote = f"wrote {tmp_path / 'cache.svg'}"
    assert err == f"{wrote}\n{path}: 3 kernels profiled; give --trace to get their roles\n"
    assert (tmp_path / "cache.svg").stat().st_size > 0


def test_command_joins_a_trace_and_says_how_much_it_found(tmp_path: Path) -> None:
    t = Labelled()
    t.module("attn.core", SPATIAL, attention=SPATIAL)
    t.call("attn.core", 0, 10)
    for n, name in enumerate(CORE):
        t.kernel(t.main, name, launch=(1 + n, 1 + n), gpu=(20 + n, 21 + n), block=(128, 2, 1))
    code, out, err = run(written(tmp_path), "--trace", t.write(tmp_path / "t.sqlite"), "--format", "csv")
    assert code == 0
    assert pl.read_csv(out.encode())["role"].to_list() == [SPATIAL] * 3
    assert err.endswith("profile.csv: 3 kernels profiled; 3 of them matched to a layer\n")


def test_command_does_not_ignore_a_filter(tmp_path: Path) -> None:
    code, out, err = run(written(tmp_path), "--time", "/1s")
    assert (code, out) == (2, "")
    assert "filters select operations of a trace: give --trace, too" in err


def test_command_refuses_what_is_no_profile_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("==PROF== nothing\n")
    code, out, err = run(tmp_path / "x.csv")
    assert (code, out) == (3, "")
    assert err.startswith(f"Error: {tmp_path / 'x.csv'}: has no line that names the columns")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("kernels.csv", "Time (%),Total Time (ns),Instances\n50.0,1,1\n", "a table that `nsys stats` printed"),
        ("torch.json", '{"schemaVersion": 1, "traceEvents": []}', "a trace of the PyTorch profiler"),
        ("run.sqlite", "SQLite format 3", "a trace of Nsight Systems: pass it as --trace, and as PROFILE"),
        ("profile.zip", "PK\x03\x04", "a zip archive: unpack it first: `unzip "),
        ("mine.csv", "a,b\n1,2\n", "has no line that names the columns ID and Kernel Name"),
        ("empty.csv", "", "has no line that names the columns ID and Kernel Name"),
    ],
)
def test_file_that_is_no_profile_is_told_what_it_is(tmp_path: Path, name: str, content: str, problem: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    code, out, err = run(path)
    assert (code != 0, out) == (True, "")
    (line,) = err.splitlines()
    assert line.startswith(f"Error: {path}: {problem}")
    if name in {"kernels.csv", "torch.json", "run.sqlite"}:
        assert line.endswith("give the output of `ncu --csv --page raw`, or a .ncu-rep report")


def test_missing_profile_gets_the_nearest_name_beside_it(tmp_path: Path) -> None:
    written(tmp_path)
    lines = [run(tmp_path / name)[2].splitlines() for name in ("profil.csv", "elsewhere.csv", "none/profile.csv")]
    remedy = "give the output of `ncu --csv --page raw`, or a .ncu-rep report"
    assert lines == [
        [f"Error: {tmp_path / 'profil.csv'}: no such file (did you mean 'profile.csv'?): {remedy}"],
        [f"Error: {tmp_path / 'elsewhere.csv'}: no such file: {remedy}"],
        [f"Error: {tmp_path / 'none/profile.csv'}: no such file: {remedy}"],
    ]


def test_figure_shows_attention_where_some_was_profiled(tmp_path: Path) -> None:
    frame = counters(profile(*IN_RANGES, ("implicit_convolve_sgemm", "unet.conv", 9, 0.9)), tables_of(unet(tmp_path)))
    (data,) = specification(draw_figure("cache", frame))["datasets"].values()
    assert {(each["operator"], each["role"]) for each in data} == {
        (operator, role) for operator in ("gemm", "softmax") for role in (SPATIAL, TEMPORAL)
    }
    with pytest.raises(NothingToDraw):
        draw_figure(
            "cache", frame.with_columns(pl.lit(None, pl.Float64).alias(f"{cache}_hit_ratio") for cache in ("l1", "l2"))
        )
