"""Dialects: each reads the names that it declares as it declares them, and none reads another's."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.labels import COMPONENTS, PHASES, ROLES
from tests.shared import examples
from ttinsys.attribution.dialects import READING, Dialect, known_dialects, read_names

KNOWN = {dialect.name: dialect for dialect in known_dialects()}
EXAMPLES = [(dialect.name, name, read) for dialect in known_dialects() for name, read in dialect.examples.items()]
GIVEN = (
    "domain",
    "payload_json",
)
"""What an example says of its range beside its name."""


def ranges(names: Sequence[str | None], domain: str | None = None) -> pl.DataFrame:
    schema = {"name": pl.String(), "domain": pl.String(), "payload_json": pl.String()}
    return pl.DataFrame({"name": names, "domain": [domain] * len(names)}, schema_overrides=schema).select(
        *(name if name in {"name", "domain"} else pl.lit(None, dtype).alias(name) for name, dtype in schema.items())
    )


def read(name: str, domain: str | None = None) -> dict[str, Any]:
    return read_names(ranges([name], domain)).row(0, named=True)


def example_ranges() -> pl.DataFrame:
    rows = [{"name": name, **{key: declared.get(key) for key in GIVEN}} for _, name, declared in EXAMPLES]
    return pl.DataFrame(rows, schema={"name": pl.String, "domain": pl.String, "payload_json": pl.String})


@pytest.mark.parametrize("dialect", known_dialects(), ids=lambda dialect: str(dialect.name))
def test_dialect_says_whose_it_is_and_where_its_examples_come_from(dialect: Dialect) -> None:
    assert dialect.doc
    assert dialect.source
    assert len(dialect.examples) >= 3, f"{dialect.name}: give three real names at least"
    assert set(dialect.reads) <= {*READING} - {"labelled_by"}
    assert "group" in dialect.reads
    for declared in dialect.examples.values():
        assert set(declared) <= {*READING, *GIVEN}


@pytest.mark.parametrize(("dialect", "name", "declared"), EXAMPLES)
def test_example_reads_as_declared(dialect: str, name: str, declared: Mapping[str, Any]) -> None:
    frame = ranges([name], declared.get("domain")).with_columns(
        pl.lit(declared.get("payload_json"), pl.String).alias("payload_json"),
    )
    row = read_names(frame).row(0, named=True)
    assert row["labelled_by"] == dialect
    assert {key: row[key] for key in declared if key not in GIVEN} == {
        key: value for key, value in declared.items() if key not in GIVEN
    }


def test_dialects_of_one_rank_claim_different_names() -> None:
    """The order of files must not matter: only a rank puts one dialect before another."""
    names = example_ranges().with_columns(
        head=pl.col("name").str.split(", ").list.first(),
        rest=pl.col("name").str.extract(r", (.{0,4})", 1),
    )
    for rank in {dialect.rank for dialect in known_dialects()}:
        peers = [dialect for dialect in known_dialects() if dialect.rank == rank]
        claims = names.select(pl.sum_horizontal(peer.claims.cast(pl.UInt8) for peer in peers).alias("claims"))
        twice = names.filter(claims["claims"] > 1)["name"].to_list()
        assert twice == [], f"rank {rank}"


@pytest.mark.slow(3)
def test_examples_together_read_as_they_do_alone() -> None:
    together = read_names(example_ranges())
    alone = [read_names(example_ranges()[place]) for place in range(together.height)]
    assert together.equals(pl.concat(alone))


def test_roles_components_and_phases_are_of_the_vocabulary() -> None:
    read_from_examples = read_names(example_ranges())
    for column, words in (("role", {*ROLES, "communication"}), ("component", {*COMPONENTS}), ("phase", {*PHASES})):
        assert {*read_from_examples[column].drop_nulls()} <= words


@pytest.mark.slow(1)
def test_reading_is_idempotent() -> None:
    """A group that its dialect reads as a name again gives itself: nothing is folded twice."""
    examples = example_ranges()
    once = read_names(examples)
    again = read_names(examples.with_columns(once["group"].cast(pl.String).alias("name")))
    same = once["labelled_by"] == again["labelled_by"]
    assert once.filter(same)["group"].to_list() == again.filter(same)["group"].to_list()


@pytest.mark.slow(3)
def test_a_subset_of_columns_reads_as_all_of_them() -> None:
    whole = read_names(example_ranges())
    for name in READING:
        assert read_names(example_ranges(), [name]).equals(whole.select(name))


@pytest.mark.parametrize(
    ("names", "group"),
    [
        ([f"aten::linear, seq = {i}, op_id = {9 + i}, sizes = [[1, {i}]]" for i in range(50)], "aten::linear"),
        ([f"denoising_step_{i}_t{999 - i}" for i in range(50)], "denoising_step_#"),
        ([f"step[DECODE bs={i}]" for i in range(1, 50)], "step[DECODE]"),
        ([f"XlaModule:#hlo_module=jit_f,program_id={i}#" for i in range(50)], "jit_f"),
        ([f"nn.Module: Linear_{i}" for i in range(50)], "Linear"),
        ([f"iteration {i}" for i in range(50)], "iteration #"),
        ([f"[Executor] _forward_step {i}: 0 ctx reqs, 8 gen reqs" for i in range(50)], "[Executor] _forward_step"),
        ([f"transformer.blocks.0.attn1 in=[[1, {i}, 320]]" for i in range(50)], "transformer.blocks.0.attn1"),
        ([f"{{'Module': 'model.norm', 'Inputs': [[{i}, 64]]}}" for i in range(50)], "model.norm"),
    ],
)  # fmt: skip
def test_names_that_differ_in_what_counts_calls_fold_into_one(names: list[str], group: str) -> None:
    assert read_names(ranges(names))["group"].unique().to_list() == [group]


@pytest.mark.parametrize(
    "names",
    [
        [f"transformer.blocks.{i}.attn1" for i in range(12)],
        [f"transformer.blocks.{i}.attn1 in=[[1, 4096, 320]]" for i in range(12)],
        [f"{{'Module': 'model.layers.{i}.mlp'}}" for i in range(12)],
        [f"/blocks.{i}/blocks.{i}.0/Conv" for i in range(12)],
        [f"fc__mye{i}" for i in range(12)],
        [f"Thunk:#hlo_op=fusion.{i}#" for i in range(12)],
        [f"triton_poi_fused_add_{i}, op_id = 7" for i in range(12)],
    ],
)
def test_numbers_that_name_a_layer_stay(names: list[str]) -> None:
    assert read_names(ranges(names))["group"].n_unique() == 12


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("batch 4 of 10", "batch # of #"),
        ("frame_0x7f3a10", "frame_#"),
        ("epoch 1/20 loss 0.125", "epoch #/# loss #"),
        ("conv2d fp16 layer4", "conv2d fp16 layer4"),
        ("request-7f-3", "request-7f-#"),
    ],
)
def test_numbers_that_stand_apart_fold(name: str, group: str) -> None:
    assert read(name)["group"] == group


@pytest.mark.parametrize(
    "name",
    [
        "init_model",
        "forward",
        "Train",
        "Jacobi solve",
        "data.loading",
        "scheduler.recv_requests",
        "np.linalg.norm2d",
        "decode",
        "attention mask",
        "main.py",
    ],
)
def test_names_that_tell_nothing_are_left_alone(name: str) -> None:
    row = read(name)
    assert (row["role"], row["component"], row["step"], row["phase"]) == (None, None, None, None), row


ODD = [
    *("", " ", ",", ", ", "{", "{}", "[[", "/", "//", ".a", "a.b.c.", "%s %d", "${1}", "'\"\\", "\x00"),
    *("x" * 100_000, "é" * 999, "🙂, seq = 1"),
    *("{'Module': ", "{'Module': ''}", "{'mod': 'x'}", "a in=[[", "a in=[[]]", "PWN(", "aten::"),
    *("nn.Module: ", "Thunk:#", "/Conv", "XlaModule:#", "[pl][module]", "{ForeignNode["),
    *("step[", "aten::mm, seq = ", "aten::mm, seq = 99999999999999999999999", "step 99999999999999999999"),
    *("denoising_step_99999999999999_t1", "[Executor] _forward_step 99999999999999999999: "),
    "transformer.attn in=[[99999999999999999999, 1, 1]]",
]  # fmt: skip


@pytest.mark.slow(1)
def test_odd_names_read_without_an_error() -> None:
    generator = random.Random(7)
    letters = "ab{}[]()'\"\\,:;#/.$ 0129éß中🙂\t\n\x00"
    made = ["".join(generator.choices(letters, k=generator.randrange(60))) for _ in range(100)]
    cut = [name[: generator.randrange(len(name))] for _, name, _ in EXAMPLES]
    for domain in (None, "TensorRT", "TSL", "NCCL", "PyTorch", "odd"):
        frame = ranges([*ODD, *made, *cut, None], domain)
        assert read_names(frame).height == frame.height


@pytest.mark.slow(1)
@examples(30)
@given(st.lists(st.text(max_size=40), max_size=20))
def test_any_text_reads_in_order(names: list[str]) -> None:
    together = read_names(ranges(names))
    assert together["group"].to_list() == [read(name)["group"] for name in names]


@pytest.mark.parametrize("name", KNOWN)
def test_names_of_other_dialects_do_not_crash_one(name: str) -> None:
    names = example_ranges().with_columns(
        head=pl.col("name").str.split(", ").list.first(), rest=pl.col("name").str.extract(r", (.{0,4})", 1)
    )
    reads = KNOWN[name].reads
    assert names.lazy().select(expression.alias(column) for column, expression in reads.items()).collect().width == len(
        reads
    )


@pytest.mark.slow(3)
def test_a_million_ranges_of_100_000_names_take_seconds() -> None:
    """Two of processor time: what a user waits for on a machine that does nothing else."""
    generator = random.Random(7)
    names = [
        re.sub(
            r"\d+", lambda digits: str(generator.randrange(10 ** len(digits.group()))), generator.choice(EXAMPLES)[1]
        )
        for _ in range(100_000)
    ]
    frame = ranges([names[generator.randrange(len(names))] for _ in range(1_000_000)])
    began = time.process_time()
    assert read_names(frame, ["group", "role", "component", "step", "operation", "seq"]).height == 1_000_000
    assert time.process_time() - began < 6  # three times what it takes
