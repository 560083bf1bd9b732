"""Costs of one forward of a model by formula, as a table: attention per level, linear layers, convolutions.

    model_costs(derive_layers(spec, "full", spec.request("full")), batch=2)

The layers come from `ttinsys.published.layers`, the formulas from `ttinsys.measures.formulas`; no trace is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import ATTENTION_ROLES, CONVOLUTION_ROLES
from ttinsys.measures.formulas import convolution_flops, core_flops, linear_flops
from ttinsys.measures.sums import known_sum, share
from ttinsys.published.layers.records import Layers

MODEL_COSTS = Table(
    "model",
    Column("component", pl.String, "Component of the pipeline, such as `unet`."),
    Column("role", pl.String, "What the layers do: kind of attention or of convolution, or `linear`."),
    Column("level", pl.Int64, "Level of a U-Net, 0 the finest; null for layers other than its attention."),
    Column("calls", pl.Int64, "Calls in one forward."),
    Column("measured_calls", pl.Float64, "Calls per forward in the trace; null without a trace."),
    Column("q_len", pl.Int64, "Queries in a sequence; null for layers other than attention."),
    Column("kv_len", pl.Int64, "Keys in a sequence; null for layers other than attention."),
    Column("heads", pl.Int64, "Heads of the attention."),
    Column("flops", pl.Int64, "Floating-point operations of all calls; of attention, those of its core.", unit="FLOP"),
    Column("measured_flops", pl.Float64, "Operations per forward that the trace is annotated with.", unit="FLOP"),
    Column("gpu_ns", pl.Float64, "GPU time per forward of these calls in the trace, added up.", unit="ns"),
    Column("share", pl.Float64, "Share of the operations of the component.", unit="ratio"),
    Column("score_bytes", pl.Int64, "Score matrices of all calls, for one head of one sequence.", unit="B"),
    Column("all_score_bytes", pl.Int64, "Score matrices with all heads, sequences, batch and guidance.", unit="B"),
    Column("channels", pl.Int64, "Features of a query, all heads together."),
    Column("sequences", pl.Int64, "Sequences of one image or clip in a call: one per frame, or one per position."),
    Column("note", pl.String, "How the trace differs from the formulas; null where it agrees."),
    doc="one row per component, role and kind of attention call",
)

LAYER_ROLES = (*ATTENTION_ROLES, "linear", *CONVOLUTION_ROLES)
"""Roles of layers that have a formula, in the order of the table."""

_MEASURED = ("measured_calls", "measured_flops", "gpu_ns", "note")
_KEYS = ("component", "role", "level", "q_len", "kv_len", "heads", "channels", "sequences")


class TooLarge(ValueError):
    """A size for which a number of operations does not fit into 64 bits."""


def model_costs(layers: Mapping[str, Layers], *, batch: int = 1, itemsize: int = 2) -> pl.DataFrame:
    """The costs of one forward of each component.

    Args:
        layers: by component, as `derive_layers` returns them.
        batch: images or clips at once; guidance by a batch of twice the size doubles it.
        itemsize: bytes of a score.

    Returns:
        `MODEL_COSTS` without what is measured: attention by role and level, then linear layers, then convolutions.
        `flops` and bytes of all rows of a component add up to those of the forward.

    Raises:
        TooLarge: a number does not fit into 64 bits.
    """
    rows = [{"component": name, **row} for name, held in layers.items() for row in _rows(held, batch, itemsize)]
    totals = (sum(row.get(name) or 0 for row in rows) for name in ("flops", "all_score_bytes"))
    if max(totals) >= 1 << 63:
        raise TooLarge("more operations or bytes than 64 bits count: give smaller sizes")
    schema = {name: dtype for name, dtype in MODEL_COSTS.schema.items() if name not in ("share", *_MEASURED)}
    costs = pl.DataFrame(rows, schema=schema)
    order = pl.col("role").replace_strict({role: place for place, role in enumerate(LAYER_ROLES)})
    component = pl.col("component").replace_strict({name: place for place, name in enumerate(layers)})
    return (
        costs.group_by(_KEYS, maintain_order=True)
        .agg(pl.col("calls", "flops").sum(), *(known_sum(name).alias(name) for name in _BYTES))
        .sort(component, order, "level", pl.col("q_len").neg(), "channels", maintain_order=True, nulls_last=True)
        .with_columns(share("flops").over("component").alias("share"))
        .with_columns(pl.lit(None, MODEL_COSTS.schema[name]).alias(name) for name in _MEASURED)
        .select(MODEL_COSTS.schema.names())
    )


_BYTES = ("score_bytes", "all_score_bytes")


def _rows(layers: Layers, batch: int, itemsize: int) -> Iterator[dict[str, Any]]:
    """One row per record, in the columns of the table."""
    for core in layers.attention:
        scores = itemsize * core.calls * core.queries * core.keys
        yield {
            "role": core.role,
            "level": core.level,
            "calls": core.calls * (batch if core.apart else 1),
            "q_len": core.queries,
            "kv_len": core.keys,
            "heads": core.heads,
            "channels": core.channels,
            "sequences": core.sequences,
            "flops": core.calls * core_flops(core.queries, core.keys, core.channels, batch * core.sequences),
            "score_bytes": scores,
            "all_score_bytes": scores * core.heads * core.sequences * batch,
        }
    for linear in layers.linear_layers:
        flops = linear_flops(batch * linear.positions, linear.inputs, linear.outputs)
        yield {"role": "linear", "calls": linear.calls, "flops": linear.calls * flops}
    for each in layers.convolutions:
        flops = convolution_flops(batch * each.positions, each.inputs, each.outputs, each.taps)
        yield {"role": each.role, "calls": each.calls, "flops": each.calls * flops}
