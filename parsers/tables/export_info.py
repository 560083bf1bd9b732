"""Which nsys made the export, and which version of its schema it has."""

import polars as pl

from parsers.schema import Column, Table

EXPORT_INFO = Table(
    "export_info",
    Column("name", pl.String, "key, such as EXPORT_PRODUCT_VERSION", aliases=("name",), required=True),
    Column("value", pl.String, "value", aliases=("value",), required=True),
    doc="key and value pairs",
    sources=("META_DATA_EXPORT", "EXPORT_META_DATA"),
)
