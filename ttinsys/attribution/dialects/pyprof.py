"""Dictionaries of PyProf and DLProf: call stacks, modules, and functions with the shapes of their arguments."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import component_of_class, role_of_class

_HEAD, _NAME = pl.col("head"), pl.col("name")
_OWNER = _HEAD.str.extract(r"^\{'mod': '([^']*)'", 1)
_FUNCTION = _NAME.str.extract(r"^\{'mod': '[^']*', 'op': '([^']*)'", 1)
_CLASS = pl.when(_NAME.str.contains(r"^\{'mod': '[^']*', 'strRepr': ")).then(_OWNER)
# The stack's last entry is the line that calls.
_CALLER = _NAME.str.extract(r"(?:[^'/\\]*[/\\])*([^'/\\]+:\d+)'\]", 1)
_SHAPES = _NAME.str.extract_all(r"'shape': \([\d, ]*\)").list.eval(
    pl.format("[{}]", pl.element().str.extract(r"\(([\d, ]*)\)", 1).str.strip_chars(", "))
)

DIALECT = Dialect(
    name="pyprof",
    doc="PyProf and DLProf: dictionaries around every PyTorch function",
    source="apex/pyprof/nvtx/nvmarker.py (traceMarker, modMarker, argMarker); NVIDIA/PyProf",
    claims=_HEAD.str.contains(r"^\{'(?:mod|traceMarker|funcStack)': "),
    reads={
        "group": pl.coalesce(
            _CLASS,
            pl.format("{}.{}", _OWNER, _FUNCTION),
            pl.format("traceMarker {}", _CALLER),
            _NAME.str.extract(r"'funcStack': '(?:[^']*/)?([^'/]+)'", 1),
            _HEAD,
        ),
        "operation": pl.when(_OWNER.str.contains(
            r"^(?:torch$|torch\.|Tensor$|_?TensorBase$)"
        ) & _FUNCTION.is_not_null())
        .then(pl.format("aten::{}", _FUNCTION)),
        "role": role_of_class(_CLASS),
        "component": component_of_class(_CLASS),
        "class": _CLASS,
        "is_module": _CLASS.is_not_null(),
        "sizes": pl.when(_SHAPES.list.len() > 0).then(pl.format("[{}]", _SHAPES.list.join(", "))),
    },
    examples={
        "{'mod': 'torch.nn.functional', 'op': 'linear', 'args': [{'name': '', 'type': 'tensor', 'shape': (4, "
        "8), 'dtype': "
        "'float32'}, {'name': '', 'type': 'tensor', 'shape': (16, 8), 'dtype': 'float32'}, {'name': 'bias', "
        "'type': 'tensor', "
        "'shape': (16,), 'dtype': 'float32'}]}": {
            "group": "torch.nn.functional.linear", "operation": "aten::linear", "sizes": "[[4, 8], [16, 8], [16]]",
            "is_module": False,
        },
        (
            "{'mod': 'Tensor', 'op': 'zero_', 'args': [{'name': '', 'type': 'tensor', 'shape': (1, 256, 1024), "
            "'dtype': 'float16'}]}"
        ): {
            "group": "Tensor.zero_", "operation": "aten::zero_", "sizes": "[[1, 256, 1024]]",
        },
        "{'mod': 'LSTMCell', 'strRepr': '128, 256'}": {"group": "LSTMCell", "class": "LSTMCell", "is_module": True},
        "{'traceMarker': ['/opt/conda/lib/python3.6/runpy.py:193', 'examples/lenet.py:25']}": {
            "group": "traceMarker lenet.py:25", "operation": None,
        },
        "{'funcStack': 'AlexNet::forward/Conv2d::forward/conv2d'}": {"group": "conv2d"},
    },
)  # fmt: skip
