"""What a trace shows around its attention calls: pictures, clips, looked-up tokens, sequences."""

from __future__ import annotations

import polars as pl

from .cost import Size, numbers
from .costs import json_list
from .geometry import Surroundings
from .names import operation_name

_PICTURES = ("group_norm", "native_group_norm", "batch_norm", "native_batch_norm", "cudnn_batch_norm")


def surroundings(costs: pl.DataFrame) -> Surroundings:
    """Gather what tells the axes of attention calls from the distinct calls of a trace.

    Args:
        costs: What `operation_costs` returns: `operation`, `sizes`, `role` and `output` are read.

    Returns:
        Grids of what convolutions, upsampling and group norms take and make, lengths of token sequences that
        embeddings look up, and lengths of sequences that linear layers take.
    """
    grids: set[Size] = set()
    tokens: set[tuple[int, int]] = set()
    sequences: set[tuple[int, int]] = set()
    rows = costs.select("operation", "sizes", "role", "output").filter(pl.col("sizes").is_not_null()).unique()
    for operation, text, role, output in rows.iter_rows():
        sizes = [
            tuple(size) if numbers(size, len(size)) else () for size in json_list(text) or () if isinstance(size, list)
        ]
        name = operation_name(operation).rpartition("::")[2]
        if not sizes or not sizes[0]:
            continue
        if role is not None and role.endswith("_conv"):
            grids |= _grids(sizes, output)
        elif name in _PICTURES or name.startswith("upsample"):
            grids |= {_extents(sizes[0])} if len(sizes[0]) > 3 else set()  # a norm may take a picture's pixels in a row
        elif name == "embedding":
            tokens |= _tokens(sizes)
        elif role == "linear" and len(sizes[0]) == 3:
            sequences.add(sizes[0][:2])
    return Surroundings(frozenset(grids - {()}), frozenset(tokens), frozenset(sequences))


def _extents(size: Size) -> Size:
    """Batch and extents of a tensor with channels second; empty for one that has no axes beside them."""
    return (size[0], *size[2:]) if len(size) > 2 else ()


def _grids(sizes: list[Size], output: list[int] | None) -> set[Size]:
    """Grids that a convolution makes, or takes where that is unknown: what it takes may be padded."""
    x, weight = sizes[0], sizes[1] if len(sizes) > 1 else ()
    if len(x) != len(weight):  # no batch, or a backward convolution, whose forward one has been seen
        return set()
    if output is not None:
        return {_extents(tuple(output))}
    grids = {_extents(x)}
    # Without strides: an even kernel cuts patches, since only an odd one keeps a pixel in its centre.
    pairs = list(zip(x[2:], weight[2:], strict=True))
    if all(kernel == 1 or (kernel % 2 == 0 and extent % kernel == 0) for extent, kernel in pairs):
        grids.add((x[0], *(extent // kernel for extent, kernel in pairs)))
    return grids


def _tokens(sizes: list[Size]) -> set[tuple[int, int]]:
    """Batch and length of the sequence of tokens that an embedding looks up, if it looks up one.

    A table of positions has as many rows as the sequence, and a table of distances is looked up by pairs.
    """
    table, indices = sizes[0], sizes[1] if len(sizes) > 1 else ()
    if len(table) != 2 or len(indices) != 2 or indices[0] == indices[1] or table[0] == indices[1]:
        return set()
    return {(indices[0], indices[1])}
