"""The sample trace is what its script makes, and attribution gives the answer worked out by hand in its README."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

import ttinsys
from parsers.writer import write_sqlite
from sample_traces.make_synthetic import SAMPLE, tables

SQLITE_VERSION = slice(96, 100)
"""Where the header of a database names the library that wrote it."""


@pytest.fixture(scope="module")
def ops() -> pl.DataFrame:
    """Every GPU operation of the sample."""
    return ttinsys.attribute(ttinsys.load(SAMPLE)).collect()


@pytest.fixture(scope="module")
def kernels(ops: pl.DataFrame) -> pl.DataFrame:
    """Its kernels that were launched inside a range."""
    return ops.filter(pl.col("kind") == "kernel", pl.col("range").is_not_null())


def dump(path: Path) -> Iterable[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_the_script_makes_the_committed_file_again(tmp_path: Path) -> None:
    again = tmp_path / "again.sqlite"
    write_sqlite(again, tables())

    assert dump(again) == dump(SAMPLE)
    old, new = SAMPLE.read_bytes(), again.read_bytes()
    # Another version of SQLite may lay out its pages otherwise.
    if old[SQLITE_VERSION] == new[SQLITE_VERSION]:
        assert old == new


def test_two_runs_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sqlite(tmp_path / name, tables())

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_file_is_small_and_says_that_it_is_synthetic() -> None:
    trace = ttinsys.load(SAMPLE)

    assert SAMPLE.stat().st_size < 600_000
    assert ("SYNTHETIC", "sample_traces/make_synthetic.py") in trace.export_info.collect().rows()
    assert trace.gpus.collect()["name"].to_list() == ["Synthetic GPU"]


KINDS = {
    "convolution": (r"\.(conv|conv1|conv2|conv_in|conv_out|post_quant_conv)$", 44, 88_000),
    "self-attention": (r"\.(attn1|self_attn)$|^vae\.decoder\.mid_block\.attentions\.0$", 12, 36_000),
    "cross-attention": (r"\.attn2$", 9, 13_500),
    "feed-forward": (r"\.(ff|mlp)$", 11, 22_000),
    "group norm": (r"resnets\.\d\.norm[12]$|\.(norm|group_norm|conv_norm_out)$", 42, 8_400),
    "layer norm": (r"transformer_blocks\.0\.norm[123]$|layer_norm", 32, 3_200),
    "activation": (r"\.(nonlinearity|act|conv_act)$", 35, 3_500),
    "projection": (r"\.(proj_in|proj_out|time_emb_proj|linear_[12]|time_proj)$", 39, 11_700),
    "addition": (r"resnets\.\d$|transformer_blocks\.0$|layers\.\d$", 25, 4_500),
    "upsampling": (r"\.upsamplers\.0$", 4, 4_000),
    "scheduler and guidance": (r"^(step|scheduler\.step)$", 6, 3_000),
    "rest": (r"^(pipeline|vae\.decode)$|\.embeddings$", 3, 2_200),
}


@pytest.mark.parametrize(("pattern", "instances", "total_ns"), KINDS.values(), ids=KINDS)
def test_total_per_kind_of_block(kernels: pl.DataFrame, pattern: str, instances: int, total_ns: int) -> None:
    block = kernels.filter(pl.col("range").str.contains(pattern))

    assert (block["range_id"].n_unique(), block["duration_ns"].sum()) == (instances, total_ns)


def test_the_kinds_of_block_leave_nothing_out(kernels: pl.DataFrame) -> None:
    matches = pl.sum_horizontal(pl.col("range").str.contains(pattern).cast(pl.Int8) for pattern, *_ in KINDS.values())

    assert kernels.select(matches.unique()).to_series().to_list() == [1]
    assert sum(total_ns for *_, total_ns in KINDS.values()) == 200_000


@pytest.mark.parametrize(
    ("path", "total_ns"),
    {
        "pipeline": 200_000,
        "pipeline/text_encoder": 11_000,
        "pipeline/step": 165_000,
        "pipeline/step/unet": 162_000,
        "pipeline/step/unet/down_blocks.0": 45_000,
        "pipeline/step/unet/mid_block": 54_000,
        "pipeline/step/unet/up_blocks.0": 48_000,
        "pipeline/step/unet/mid_block/attentions.0": 24_000,
        "pipeline/step/scheduler.step": 1_500,
        "pipeline/vae.decode": 22_000,
    }.items(),
)
def test_total_inside_a_range_and_all_its_parts(kernels: pl.DataFrame, path: str, total_ns: int) -> None:
    inside = kernels.filter((pl.col("path") == path) | pl.col("path").str.starts_with(f"{path}/"))

    assert inside["duration_ns"].sum() == total_ns


def test_the_deepest_path_names_every_module_around_it(kernels: pl.DataFrame) -> None:
    block = "unet.down_blocks.0.attentions.0.transformer_blocks.0"
    deepest = kernels.filter(pl.col("depth") == 6, pl.col("range") == f"{block}.attn1")

    assert deepest["path"].unique().to_list() == [
        "pipeline/step/unet/down_blocks.0/attentions.0/transformer_blocks.0/attn1"
    ]


def test_coverage_is_four_fifths(ops: pl.DataFrame) -> None:
    totals = ops.group_by("kind", "attributed_by").agg(pl.len(), pl.col("duration_ns").sum()).sort("kind", "len")

    assert totals.rows() == [
        ("kernel", "no_range_open", 5, 50_000),
        ("kernel", "launch", 452, 200_000),
        ("memcpy", "launch", 2, 5_000),
        ("memset", "no_range_open", 1, 2_000),
        ("memset", "launch", 3, 3_000),
    ]


def test_the_kernel_of_the_other_thread_belongs_to_no_range(ops: pl.DataFrame) -> None:
    other = ops.filter(pl.col("tid") == 4250)

    assert other.select("stream", "duration_ns", "path", "attributed_by").rows() == [
        (13, 10_000, None, "no_range_open")
    ]


def test_time_alone_would_give_another_answer(kernels: pl.DataFrame) -> None:
    ranges = ttinsys.ranges(ttinsys.load(SAMPLE)).select(
        "range_id", "depth", seen="name", opened="start_ns", closed="end_ns"
    )
    started_in = (
        kernels.lazy()
        .select("correlation_id", "start_ns", "duration_ns")
        .join_where(ranges, pl.col("start_ns") >= pl.col("opened"), pl.col("start_ns") < pl.col("closed"))
        .sort("depth")
        .unique("correlation_id", keep="last", maintain_order=True)
        .collect()
    )
    own = kernels.join(ranges.collect(), on="range_id")

    assert own.filter(pl.col("start_ns") < pl.col("closed"), pl.col("end_ns") > pl.col("opened")).height == 3
    assert started_in.filter(pl.col("seen") == "pipeline")["duration_ns"].sum() == 80_100
    assert kernels.filter(pl.col("range") == "pipeline")["duration_ns"].sum() == 2_000
