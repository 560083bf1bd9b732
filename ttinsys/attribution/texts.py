"""Texts of NVTX events: registered strings or the event's own, each distinct name once."""

from __future__ import annotations

from typing import TypeVar

import polars as pl

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

TEXTS = ("text", "text_id", "json_text", "json_text_id")
"""Columns of NVTX events that hold their texts, or refer to them."""


def with_texts(events: Frame, strings: Frame) -> Frame:
    """Add `name` and `payload_json` to events that have `TEXTS`.

    Args:
        events: events, one row each.
        strings: `id` and `value` of registered strings.
    """
    for text, name in (("text", "name"), ("json_text", "payload_json")):
        # Most exports have no structured payload, and a join with millions of strings costs more than to look.
        if isinstance(events, pl.DataFrame) and events[f"{text}_id"].null_count() == events.height:
            events = events.with_columns(pl.col(text).alias(name))
            continue
        registered = strings.select(pl.col("id").alias(f"{text}_id"), pl.col("value").alias("_registered"))
        events = events.join(registered, on=f"{text}_id", how="left", maintain_order="left")
        events = events.with_columns(pl.coalesce("_registered", text).alias(name)).drop("_registered")
    return events


def number_names(ranges: pl.DataFrame, strings: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """Number the distinct names of ranges: there may be few names and many ranges, and a name is read once.

    Args:
        ranges: `domain` and `TEXTS`, one row per range.
        strings: `id` and `value` of registered strings.

    Returns:
        `name_key` of each range (UInt32), and one row per key: `domain`, `name` and `payload_json`.
    """
    # Columns without a value tell nothing apart, and most exports have three of them.
    by = [name for name in ("domain", *TEXTS) if ranges[name].null_count() < ranges.height] or ["text_id"]
    distinct = ranges.select(by).unique(maintain_order=True)
    numbered = distinct.with_row_index("name_key")
    key = ranges.select(by).join(numbered, on=by, how="left", nulls_equal=True, maintain_order="left")["name_key"]
    absent = {name: ranges.schema[name] for name in ("domain", *TEXTS) if name not in by}
    names = distinct.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items())
    return key, sparse(with_texts(names, strings).select("domain", "name", "payload_json"))


def sparse(rows: pl.DataFrame) -> pl.DataFrame:
    """Hold each column without a value as a single null: exports have many such columns, and rows may be millions."""
    empty = (name for name in rows.columns if rows[name].null_count() == rows.height)
    return rows.with_columns(pl.lit(None, rows.schema[name]).alias(name) for name in empty)
