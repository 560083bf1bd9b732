"""Strings that the other tables refer to by id."""

import polars as pl

from parsers.schema import Column, Table

STRINGS = Table(
    "strings",
    Column("id", pl.Int64, "the id that other tables hold", aliases=("id",), required=True),
    Column("value", pl.String, "the string", aliases=("value",), required=True),
    doc="one row per distinct string",
    sources=("StringIds",),
    remedy="export the report again with `nsys export`",
)
