"""What a range says beside its name, as data in the trace: written and parsed here alone.

A range is named after its module's path and nothing else, so that it groups in any tool. What it carries comes in two
kinds of NVTX marks of the same domain:

- *Of a module*, the same in every call: one mark whose text is `ttinsys/1 module {...}`, JSON that gives the name of
  the range and its role, class, component and size.
- *Of a call*, which differs with the shapes: a call is a number, the payload of its ranges. Each of its values is one
  mark: the text names the field (`ttinsys/1 q_len`), the category is the call, the payload is the value. A mark
  `ttinsys/1 call` directly inside a range gives the range the call in its payload, where that is known only at the end.

So the strings of a trace are bounded by the modules of the model, however many shapes a long decode goes through, and
integers are all that calls need: structured payloads do not survive a 2023 export. The category of a range is its
role, so that a viewer colours and filters by it. The number after the slash is the format's version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

DOMAIN = "ttinsys"
"""NVTX domain of the ranges and the marks."""

VERSION = 1
"""Version of the format. A reader ignores marks of a version that it does not know, and says so."""

ATTENTION_ROLES = (
    "spatial_attention",
    "temporal_attention",
    "spatiotemporal_attention",
    "cross_attention",
    "joint_attention",
    "self_attention",
)
CONVOLUTION_ROLES = ("spatial_conv", "temporal_conv", "spatiotemporal_conv", "pointwise_conv")
ROLES = (
    *ATTENTION_ROLES,
    *CONVOLUTION_ROLES,
    "linear",
    "group_norm",
    "layer_norm",
    "rms_norm",
    "activation",
    "elementwise",
    "embedding",
    "rope",
    "resample",
    "rearrange",
    "scheduler",
    "other",
)
"""What a module does."""

COMPONENTS = ("text_encoder", "image_encoder", "denoiser", "vae", "scheduler", "decoder")
"""Parts of a pipeline."""

PHASES = ("prefill", "decode")
"""Of an autoregressive step: many queries at once, or one."""

LEVELS = ("step", "stage", "component", "block", "leaf")
"""Granularities of ranges, coarsest first; each has the ranges of those before it."""

DTYPES = ("float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2", "int64", "int32", "int8", "bool")

FIELDS: Mapping[str, str] = {
    "q_len": "queries of an attention call, per head and batch entry",
    "kv_len": "keys of an attention call",
    "heads": "heads of an attention call",
    "flops": "floating-point operations of the call outside the ranges in it; a multiply-add is two",
    "bytes": "least traffic of the call outside the ranges in it: inputs, weights and outputs, once each",
    "dtype": "of the first tensor: position in `DTYPES`",
    "step": "number of the step in its run, from zero",
    "phase": "position in `PHASES`",
}
"""Values that a call has, beside the shapes of its inputs (`shape.0.1` is the second dimension of the first)."""

FIRST_CALL = 1000
"""Calls are numbered from here on: smaller categories are roles."""

PREFIX = "ttinsys/"
"""What the text of every mark of ours begins with, whatever its version."""

_CURRENT = f"{PREFIX}{VERSION} "
CALL_TEXT = f"{_CURRENT}call"
"""Text of the mark that gives the range around it its call."""


@dataclass(frozen=True, slots=True)
class ModuleLabel:
    """What is the same in every call of a module.

    Args:
        name: of its ranges: the module's path in the pipeline.
        role: one of `ROLES`.
        cls: name of its class, or of the function for what is no module.
        component: one of `COMPONENTS`; None for the pipeline as a whole.
        attention: role of the attention that it is or is a part of; None outside.
        parameters: its own and those of all modules in it.
        level: of `LEVELS`, the coarsest at which it has ranges.
    """

    name: str
    role: str = "other"
    cls: str = ""
    component: str | None = None
    attention: str | None = None
    parameters: int = 0
    level: str = "block"


def module_text(label: ModuleLabel) -> str:
    """Text of the mark that describes a module."""
    said = {key: value for key, value in asdict(label).items() if value not in {None, "", 0}}
    return f"{_CURRENT}module {json.dumps(said, ensure_ascii=False, separators=(',', ':'))}"


def run_text(run: Mapping[str, Any]) -> str:
    """Text of the mark that describes the run: model, request, versions."""
    return f"{_CURRENT}run {json.dumps(run, ensure_ascii=False, separators=(',', ':'))}"


def field_text(name: str) -> str:
    """Text of the mark that holds a value of a call: of `FIELDS`, or `shape.I.J`."""
    return _CURRENT + name


def parse_module(text: str) -> ModuleLabel | None:
    """What the mark of a module says; None where the text is no such mark, or not a sound one."""
    said = _json_after(f"{_CURRENT}module ", text)
    if said is None or not isinstance(said.get("name"), str):
        return None
    kept: dict[str, Any] = {
        field.name: said[field.name]
        for field in fields(ModuleLabel)
        if isinstance(said.get(field.name), int if field.name == "parameters" else str)
    }
    return ModuleLabel(**kept)


def parse_run(text: str) -> dict[str, Any] | None:
    """What the mark of a run says; None where the text is no such mark, or not a sound one."""
    return _json_after(f"{_CURRENT}run ", text)


def parse_field(text: str) -> str | None:
    """The field whose value a mark holds; None where the text is no such mark."""
    name = text.removeprefix(_CURRENT)
    return name if name != text and (name in FIELDS or name.startswith("shape.")) else None


def version_of(text: str) -> int | None:
    """Version of the format of a mark; None where the text is none of ours."""
    found = re.match(rf"{PREFIX}([0-9]{{1,9}}) ", text)
    return int(found[1]) if found else None


def _json_after(prefix: str, text: str) -> dict[str, Any] | None:
    if not text.startswith(prefix):
        return None
    try:
        said = load_json(text[len(prefix) :])
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def load_json(text: str) -> Any:
    """Parse JSON whose strings may come from a stranger: every string in the result can be encoded as UTF-8.

    JSON can escape half of a surrogate pair, which no encoding can write: it becomes U+FFFD.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: it nests too deeply.
    """
    return _encodable(json.loads(text))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_encodable(each) for each in value]
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    return value
