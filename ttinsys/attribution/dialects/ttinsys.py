"""Ranges of our own annotation, named after modules; marks carry all else (`ttinsys.attribution.labels`)."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.labels import DOMAIN

DIALECT = Dialect(
    name="ttinsys",
    doc="our own annotation, which names each range after its module and nothing else",
    source="annotate/labels.py",
    claims=(pl.col("domain") == DOMAIN).fill_null(value=False),
    reads={"group": pl.col("name")},
    examples={
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1": {
            "domain": DOMAIN,
            "group": "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1",
        },
        "step": {"domain": DOMAIN, "group": "step"},
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.core": {
            "domain": DOMAIN,
            "group": "unet.mid_block.attentions.0.transformer_blocks.0.attn2.core",
        },
    },
    rank=-10,
)
