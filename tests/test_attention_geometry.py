"""Roles of attention calls from their lengths, batches and surroundings."""

from __future__ import annotations

import json

import polars as pl
import pytest

from ttinsys.attribution.aten import Surroundings, attention_roles, operation_costs, surroundings

Shape = tuple[int, int | None, int, int]
"""Batch, heads, queries and keys."""


def roles(
    *shapes: Shape,
    grids: set[tuple[int, ...]] | None = None,
    tokens: set[tuple[int, int]] | None = None,
    sequences: set[tuple[int, int]] | None = None,
    component: str | None = None,
    calls: tuple[int, ...] | None = None,
) -> list[str | None]:
    """Roles of shapes, without `_attention`."""
    columns = {"batch": pl.Int64, "heads": pl.Int64, "q_len": pl.Int64, "kv_len": pl.Int64}
    frame = pl.DataFrame(shapes, schema=columns, orient="row").with_columns(
        pl.lit(component, pl.String).alias("component"), pl.Series("calls", calls or [1] * len(shapes))
    )
    around = Surroundings(frozenset(grids or ()), frozenset(tokens or ()), frozenset(sequences or ()))
    found = attention_roles(frame, around)["role"]
    return [role.removesuffix("_attention") if role else None for role in found]


def test_a_class_token_tells_space_from_time_where_frames_and_positions_are_folded_two_ways() -> None:
    # TimeSformer: 8 frames of 3,136 positions, with one class token beside the positions of each frame.
    assert roles((3136, 12, 8, 8), (8, 12, 3137, 3137)) == ["temporal", "spatial"]


def test_frames_are_what_levels_have_in_common() -> None:
    # A U-Net of 6 frames, two clips at once, of 64 and of 16 positions.
    shapes: list[Shape] = [(128, 2, 6, 6), (12, 2, 64, 64), (32, 2, 6, 6), (12, 2, 16, 16)]
    assert roles(*shapes) == ["temporal", "spatial", "temporal", "spatial"]


def test_one_level_without_a_class_token_reads_both_ways_until_a_grid_tells() -> None:
    shapes: list[Shape] = [(1024, 16, 16, 16), (16, 16, 1024, 1024)]
    assert roles(*shapes) == [None, None]
    assert roles(*shapes, grids={(16, 32, 32)}) == ["temporal", "spatial"]
    assert roles(*shapes, grids={(1, 16, 32, 32)}) == ["temporal", "spatial"]


def test_a_window_or_a_row_of_a_picture_is_not_time() -> None:
    # 64 pictures of 32 x 32, in windows of 4 x 4 and in rows of 32.
    assert roles((4096, 4, 16, 16), grids={(64, 32, 32)}) == [None]
    assert roles((2048, 4, 32, 32), grids={(64, 32, 32)}) == [None]


@pytest.mark.parametrize("heads", [8, None])
def test_a_picture_is_spatial_with_heads_apart_or_folded(heads: int | None) -> None:
    batch = 2 if heads else 16
    shapes: list[Shape] = [(batch, heads, 4096, 4096), (batch, heads, 4096, 77)]
    assert roles(*shapes, grids={(2, 64, 64)}, tokens={(1, 77)}) == ["spatial", "cross"]


def test_four_pixels_may_be_one_token() -> None:
    # Flux: latents of 128 x 128 are packed by 2 x 2, and 512 tokens of text precede them.
    assert roles((1, 24, 4608, 4608), grids={(1, 128, 128)}, tokens={(1, 512)}) == ["joint"]
    assert roles((1, 24, 4096, 4096), grids={(1, 128, 128)}, component="denoiser") == ["spatial"]


@pytest.mark.parametrize("grid", [(1, 21, 30, 52), (21, 30, 52)])
def test_a_clip_is_spatiotemporal(grid: tuple[int, ...]) -> None:
    assert roles((1, 12, 32760, 32760), grids={grid}) == ["spatiotemporal"]


def test_a_picture_with_text_is_joint_whether_texts_are_known_or_taken_apart() -> None:
    joint: Shape = (2, 38, 4429, 4429)
    assert roles(joint, grids={(2, 64, 64)}, tokens={(1, 77), (1, 256)}) == ["joint"]
    assert roles(joint, sequences={(2, 4096), (2, 333)}) == ["joint"]
    assert roles(joint, grids={(2, 64, 64)}) == [None]


def test_text_that_is_added_to_the_keys_of_pictures_is_joint() -> None:
    # Imagen: 77 tokens beside the picture's own keys. Kandinsky: 32, which two levels have in common.
    assert roles((2, 8, 1024, 1101), grids={(2, 32, 32)}, tokens={(1, 77)}) == ["joint"]
    shapes: list[Shape] = [(2, 8, 1024, 1056), (2, 8, 256, 288)]
    assert roles(*shapes, grids={(2, 32, 32), (2, 16, 16)}) == ["joint", "joint"]


def test_keys_that_grow_are_a_cache_and_constant_ones_are_text() -> None:
    # A decoder of 4 tokens after a prompt of 10, which also attends to 77 encoded tokens.
    shapes: list[Shape] = [(1, 8, 10, 10), *((1, 8, 1, 11 + step) for step in range(4)), (1, 8, 1, 77)]
    assert roles(*shapes) == ["self", *["self"] * 4, "cross"]


def test_text_as_long_as_a_cache_once_is_cannot_be_told_from_it() -> None:
    shapes: list[Shape] = [(1, 8, 1, 11), (1, 8, 1, 12), (1, 8, 1, 13)]
    assert roles(*shapes, calls=(24, 24 * 4, 24)) == ["self", None, "self"]


def test_one_step_of_a_decode_continues_its_prompt() -> None:
    assert roles((1, 32, 559, 559), (1, 32, 1, 560), tokens={(1, 559)}) == ["self", "self"]
    assert roles((1, 32, 1, 560)) == [None]


def test_a_clip_that_is_made_chunk_by_chunk_is_spatiotemporal() -> None:
    # Each chunk of 3 frames of 1,560 positions sees those before it.
    shapes: list[Shape] = [(1, 12, 4680, 4680 * chunk) for chunk in (1, 2, 3)]
    assert roles(*shapes, grids={(1, 3, 30, 52)}) == ["spatiotemporal"] * 3


def test_keys_that_may_be_the_queries_own_are_no_cross_attention() -> None:
    assert roles((1, 8, 1024, 4096)) == [None]  # the part of one GPU of four, or text of 4,096
    assert roles((1, 8, 4096, 1024)) == [None]  # reduced by 2 x 2, or text of 1,024
    assert roles((1, 8, 4096, 1000)) == ["cross"]
    assert roles((1, 8, 4096, 256), (1, 8, 1024, 256)) == ["cross", "cross"]  # keys of no one's own


def test_tokens_that_are_looked_up_are_along_one_sequence() -> None:
    assert roles((16, 16, 559, 559), tokens={(16, 559)}) == ["self"]
    assert roles((16, 16, 559, 559)) == [None]


def test_image_tokens_that_are_as_many_as_a_picture_has_positions_are_not_decided() -> None:
    assert roles((2, 8, 256, 256), tokens={(2, 256)}, grids={(2, 16, 16)}) == [None]
    assert roles((2, 8, 256, 256), tokens={(2, 256)}, grids={(2, 16, 16)}, component="vae") == ["spatial"]


def test_encoders_attend_along_one_sequence_by_definition() -> None:
    assert roles((1, 16, 257, 257), grids={(1, 16, 16)}, component="image_encoder") == ["self"]
    assert roles((1, 16, 257, 257), grids={(1, 16, 16)}) == [None]


def test_order_of_rows_does_not_matter() -> None:
    shapes: list[Shape] = [(3136, 12, 8, 8), (8, 12, 3137, 3137), (1, 8, 1, 11), (1, 8, 1, 12), (1, 8, 1, 13)]
    assert roles(*reversed(shapes)) == [*reversed(roles(*shapes))]


def test_a_call_without_lengths_has_no_role() -> None:
    frame = pl.DataFrame({"component": None, "batch": None, "heads": None, "q_len": None, "kv_len": None, "calls": 3})
    assert attention_roles(frame, Surroundings())["role"].to_list() == [None]


def test_surroundings_are_what_convolutions_make_and_embeddings_look_up() -> None:
    calls = pl.DataFrame(
        [
            ("aten::conv2d", [[1, 4, 64, 64], [8, 4, 3, 3]], ["", "", "", "[2, 2]", "[1, 1]", "[1, 1]", "1"]),
            ("aten::conv2d", [[2, 3, 224, 224], [8, 3, 16, 16]], None),
            ("aten::embedding", [[49408, 768], [1, 77]], None),
            ("aten::embedding", [[77, 768], [1, 77]], None),
            ("aten::embedding", [[32, 64], [77, 77]], None),
            ("aten::linear", [[2, 333, 64], [8, 64]], None),
        ],
        schema=["operation", "sizes", "values"],
        orient="row",
        schema_overrides={"sizes": pl.Object, "values": pl.Object},
    )
    texts = [
        pl.Series(name, [json.dumps(each) if each else None for each in calls[name]]) for name in ("sizes", "values")
    ]
    around = surroundings(operation_costs(pl.DataFrame([calls["operation"], *texts])))
    assert around.grids == {(1, 32, 32), (2, 224, 224), (2, 14, 14)}
    assert around.tokens == {(1, 77)}
    assert around.sequences == {(2, 333)}
