"""Keys and values that describe the export: the nsys that made it, the version of its schema."""

import polars as pl

from parsers.schema import Column, Table

EXPORT_INFO = Table(
    "export_info",
    Column("name", pl.String, "Key, such as EXPORT_PRODUCT_VERSION.", aliases=("name",), required=True),
    Column("value", pl.String, "Value of the key.", aliases=("value",), required=True),
    doc="one row per key",
    sources=("META_DATA_EXPORT", "EXPORT_META_DATA"),
)
