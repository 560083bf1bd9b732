"""Paths of nested ranges: the groups from the outermost range to each.

Paths are few where ranges are many, so each level of nesting numbers its distinct pairs of path and group, and a text
is made once for each path.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.nesting import deepest

UNNAMED = "(unnamed)"
"""Name in a path of a range without text."""


def with_paths(nested: pl.DataFrame) -> pl.DataFrame:
    """Add `path`. A range that is named after its parent, as `unet.mid` in `unet`, adds only the rest of its name.

    Args:
        nested: ranges as `nest` returns them, with `group`.
    """
    named = nested.select(pl.col("group").cast(pl.Categorical).fill_null(UNNAMED))
    groups = named.unique(maintain_order=True).with_row_index("number")
    number = named.join(groups, on="group", how="left", maintain_order="left")["number"]
    # Number 0 stands for the path above the top, whose group is empty.
    paths = pl.DataFrame({"text": [""], "group": [""]})
    path = pl.repeat(0, nested.height, dtype=pl.UInt32, eager=True)
    for level in range(deepest(nested) + 1 if nested.height else 0):
        rows = (nested["depth"] == level).arg_true()
        own = pl.DataFrame({"number": number.gather(rows), "above": path.gather(nested["parent"].gather(rows))})
        # One key for both columns, as a join on one is twice as fast.
        key = pl.col("above").fill_null(0).cast(pl.UInt64) * groups.height + pl.col("number")
        own = own.with_columns(key.alias("key"))
        new = own.unique("key", maintain_order=True).with_row_index("path", offset=paths.height)
        path = path.scatter(rows, own.select("key").join(new, on="key", how="left", maintain_order="left")["path"])
        paths = paths.vstack(_texts(new, paths, groups["group"].cast(pl.String)))
    return nested.with_columns(paths["text"].cast(pl.Categorical).gather(path).alias("path"))


def _texts(new: pl.DataFrame, paths: pl.DataFrame, groups: pl.Series) -> pl.DataFrame:
    """`text` and `group` of paths that lead one level deeper.

    Args:
        new: `above`, the position of the path around each in `paths`, null at the top; `number`, of its group.
        paths: the paths so far.
        groups: texts of the groups, by number.
    """
    above = paths[new["above"].fill_null(0)]
    named = above.with_columns(groups.gather(new["number"]).alias("name"), new["above"].is_null().alias("is_top"))
    rest = pl.col("name").str.strip_prefix(pl.col("group") + ".")
    # A range whose name is its parent's and a dot keeps its name: an empty part would read as nothing.
    part = pl.when((rest != "") & ~pl.col("is_top")).then(rest).otherwise("name")
    return named.select(
        pl.when("is_top").then(part).otherwise(pl.concat_str("text", part, separator="/")).alias("text"),
        pl.col("name").alias("group"),
    )
