"""Types of tensors, as PyTorch's profiler spells them in `Input type`, in the words of labels."""

from __future__ import annotations

from collections.abc import Mapping

DTYPE_OF_TYPE: Mapping[str, str] = {
    "float": "float32",
    "double": "float64",
    "c10::Half": "float16",
    "c10::BFloat16": "bfloat16",
    "c10::Float8_e4m3fn": "float8_e4m3fn",
    "c10::Float8_e4m3fnuz": "float8_e4m3fnuz",
    "c10::Float8_e5m2": "float8_e5m2",
    "c10::Float8_e5m2fnuz": "float8_e5m2fnuz",
    "long int": "int64",
    "long": "int64",
    "long long": "int64",
    "int": "int32",
    "short": "int16",
    "signed char": "int8",
    "unsigned char": "uint8",
    "bool": "bool",
    "c10::complex<float>": "complex64",
    "c10::complex<double>": "complex128",
}
"""Name of a dtype in PyTorch, by the name of its C++ type. `Scalar`, `ScalarList` and `TensorList` have none."""

DTYPE_OF_CODE: Mapping[str, str] = {
    "1": "int8",
    "3": "int32",
    "4": "int64",
    "5": "float16",
    "6": "float32",
    "7": "float64",
    "15": "bfloat16",
    "23": "float8_e5m2",
    "24": "float8_e4m3fn",
}
"""Name of a dtype by its number in `c10::ScalarType`, which an argument such as `out_dtype` is recorded as."""

_ITEM_BYTES: Mapping[str, int] = {
    "float64": 8,
    "int64": 8,
    "complex64": 8,
    "complex128": 16,
    "float32": 4,
    "int32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
}


def item_bytes_of(dtype: str) -> int:
    """Bytes of an element of a dtype of `DTYPE_OF_TYPE`; types of one byte are the rest of them."""
    return _ITEM_BYTES.get(dtype, 1)
