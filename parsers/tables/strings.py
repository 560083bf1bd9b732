"""Strings, to which other tables refer by ID."""

import polars as pl

from parsers.schema import Column, Table

STRINGS = Table(
    "strings",
    Column("id", pl.Int64, "ID by which other tables refer to the string.", aliases=("id",), required=True),
    Column("value", pl.String, "Text of the string.", aliases=("value",), required=True),
    doc="one row per distinct string",
    sources=("StringIds",),
    remedy="export the report again with `nsys export`",
)
