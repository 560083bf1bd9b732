"""What repeats in a sequence: programs planted by chance, brute force, noise that must not be taken for structure."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import NamedTuple

import polars as pl
import pytest

from tests.shared import slow
from ttinsys.measures.iterations import parts
from ttinsys.measures.repetition import search, with_grams


class Program(NamedTuple):
    """A sequence of kernels, and where its iterations and their blocks begin."""

    kernels: list[str]
    starts: list[int]
    end: int
    blocks: list[int]


def program(seed: int) -> Program:
    """A prologue, iterations of a head, blocks and a tail, and an epilogue, all of random length and kernels."""
    chance = random.Random(seed)
    names = [f"k{number}" for number in range(chance.choice([12, 40, 100]))]

    def some(least: int, most: int, prefix: str = "") -> list[str]:
        return [prefix + chance.choice(names) for _ in range(chance.randint(least, most))]

    head, block, tail = some(8, 40), some(8, 60), some(5, 30)
    count = chance.choice([0, 4, 12, 30])
    kernels = some(0, 300, "before ")
    starts, blocks = [], []
    for _ in range(chance.choice([3, 4, 8, 20])):
        starts.append(len(kernels))
        kernels += head
        for _ in range(count):
            blocks.append(len(kernels))
            kernels += block
        kernels += tail
    end = len(kernels)
    return Program(kernels + some(0, 300, "after "), starts, end, blocks)


def of_kind(found: pl.DataFrame, part: str) -> pl.DataFrame:
    return found.filter(pl.col("part") == part)


FEW = 6


def seeds(count: int) -> list[object]:
    """Seeds of random programs, of which the fast tier tries a few."""
    return [seed if seed < FEW else slow(seed) for seed in range(count)]


@pytest.mark.parametrize("seed", seeds(40))
def test_planted_iterations_and_blocks_are_found_where_they_begin(seed: int) -> None:
    planted = program(seed)
    found = parts(pl.Series(planted.kernels))
    iterations = of_kind(found, "iteration")
    assert iterations["first"].to_list() == planted.starts
    assert iterations["end"][-1] == planted.end
    # Where the head ends as a block does, blocks begin earlier, and the last one of an iteration may be cut off.
    assert 0 <= len(planted.blocks) - of_kind(found, "block").height <= len(planted.starts)


@pytest.mark.parametrize("seed", seeds(20))
def test_parts_tile_the_sequence_and_blocks_lie_in_their_part(seed: int) -> None:
    planted = program(seed)
    found = parts(pl.Series(planted.kernels))
    tiles = found.filter(pl.col("depth") == 1)
    assert [0, *tiles["end"]] == [*tiles["first"], len(planted.kernels)]
    assert tiles["part"].to_list()[:1] != ["epilogue"]
    for row in found.filter(pl.col("depth") == 2).iter_rows(named=True):
        holder = tiles.row(row["iteration"], named=True)
        assert holder["first"] <= row["first"] < row["end"] <= holder["end"]


@pytest.mark.parametrize("seed", seeds(20))
def test_period_is_the_shortest_at_which_all_kernels_come_back(seed: int) -> None:
    chance = random.Random(seed)
    once = [chance.randrange(30) for _ in range(chance.randint(10, 80))]
    kernels = once * chance.randint(4, 12)
    shortest = next(p for p in range(1, len(kernels)) if kernels[p:] == kernels[:-p])
    cuts = search(with_grams(pl.Series(kernels)))
    assert cuts is not None
    assert cuts.period == shortest


@pytest.mark.parametrize("seed", seeds(60))
def test_random_kernels_have_no_structure(seed: int) -> None:
    chance = random.Random(seed)
    kinds, length = chance.choice([2, 5, 20, 60]), chance.choice([3, 30, 300, 3000])
    weights = [1 / (number + 1) ** chance.choice([0, 1, 2]) for number in range(kinds)]
    assert parts(pl.Series(chance.choices(range(kinds), weights, k=length))).is_empty()


@pytest.mark.parametrize(
    "kernels", [[], ["a"], ["a", "b", "c"], ["a"] * 1000, ["a", "b"] * 3, ["a"] * 500 + ["b"] * 500], ids=len
)
def test_few_kernels_and_runs_of_one_kernel_have_no_structure(kernels: list[str]) -> None:
    assert parts(pl.Series(kernels, dtype=pl.String)).is_empty()


def test_run_of_one_graph_has_an_iteration_per_launch_as_a_graph_is_a_pass_of_its_own() -> None:
    graphs = pl.Series(["graph 4"] * 10)
    assert parts(graphs).is_empty()
    found = parts(graphs, composite=pl.repeat(value=True, n=10, eager=True))
    assert found.select("part", "first", "end").rows() == [("iteration", n, n + 1) for n in range(10)]


def test_step_with_more_kernels_is_whole_and_the_next_one_begins_after_it() -> None:
    # The third of six steps tunes: 30 kernels more in its midst.
    step = [f"k{number // 2}" for number in range(200)]
    tuned = step[:120] + [f"tune{number}" for number in range(30)] + step[120:]
    found = of_kind(parts(pl.Series([*step * 2, *tuned, *step * 3])), "iteration")
    assert found["first"].to_list() == [0, 200, 400, 630, 830, 1030]
    assert found["end"].to_list() == [200, 400, 630, 830, 1030, 1230]


def test_kernels_between_two_steps_belong_to_neither() -> None:
    step = [f"k{number}" for number in range(60)]
    preview = [f"vae{number}" for number in range(25)]
    found = parts(pl.Series([*step * 3, *preview, *step * 3]))
    assert of_kind(found, "between").select("first", "end").rows() == [(180, 205)]
    assert of_kind(found, "iteration")["first"].to_list() == [0, 60, 120, 205, 265, 325]


def test_iteration_that_the_capture_cuts_off_is_the_epilogue() -> None:
    step = [f"k{number}" for number in range(60)]
    found = parts(pl.Series([*step * 5, *step[:20]]))
    assert of_kind(found, "iteration").height == 5
    assert of_kind(found, "epilogue").select("first", "end").rows() == [(300, 320)]


def test_streams_that_interleave_differently_in_each_step_do_not_matter() -> None:
    chance = random.Random(0)
    lanes: list[int] = []
    kernels: list[str] = []
    for _ in range(12):
        turn = [0] * 50 + [1] * 10
        chance.shuffle(turn)
        each = {0: iter([f"a{number}" for number in range(50)]), 1: iter([f"b{number}" for number in range(10)])}
        lanes += turn
        kernels += [next(each[lane]) for lane in turn]
    found = of_kind(parts(pl.Series(kernels), pl.Series(lanes)), "iteration")
    assert found.height == 12
    for before, after in pairwise(found["first"]):
        assert abs(after - before - 60) <= 10


@pytest.mark.slow(1)
def test_same_sequence_gives_the_same_parts() -> None:
    kernels = pl.Series(program(3).kernels)
    assert parts(kernels).equals(parts(kernels))
