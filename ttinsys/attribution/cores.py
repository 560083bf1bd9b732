"""Attention cores: those spelt out in products and a softmax, and the axis that each runs along."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.labels import ATTENTION_ROLES


def with_cores(nested: pl.DataFrame) -> pl.DataFrame:
    return nested


def axes_of_attention(labelled: pl.DataFrame, cores: pl.Series) -> pl.Series:
    fallback = (
        pl.when(pl.col("named").is_in(ATTENTION_ROLES) & (pl.col("named") != "self_attention"))
        .then("named")
        .when((pl.col("q_len") != pl.col("kv_len")) & (pl.col("q_len") > 1))
        .then(pl.lit("cross_attention"))
        .otherwise(pl.lit("self_attention"))
        .cast(pl.Categorical)
    )
    return labelled.select(fallback.alias("role")).to_series()
