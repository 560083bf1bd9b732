"""The format of what annotated ranges carry beside their names. Nothing else writes or parses it.

A range is named after the path of its module and nothing else, so that it groups in any tool. What it carries lies in
NVTX marks of the same domain, of two kinds:

- A mark of a *module* holds what is the same in every call: its text is `ttinsys/1 module {...}`, JSON with the name of
  the range and its role, class, component and size.
- A mark of a *call* holds one value that depends on shapes: its text names the field (`ttinsys/1 q_len`), its category
  is the number of the call, its payload the value. The payload of a range is the number of its call. Where that is
  known only when the range ends, a mark `ttinsys/1 call` directly inside the range has it as payload.

So the number of strings is bounded by the modules of the model, however many shapes a long decode goes through, and
values of calls are integers: an nsys export of 2023 drops structured payloads. The category of a range is its role, so
that a viewer can colour and filter by it; what a module does may be observed only in its first call, so of several
marks for one name the last counts, also for ranges before it.

The number after the slash is the version of the format: 2 says how each role was told (`told`), which calls nobody
could count (`uncounted`), which are of the backward pass (`direction`), and what steps left out (`skipped`); all else
is as in 1, and both are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

DOMAIN = "ttinsys"
"""NVTX domain of ranges and marks."""

VERSION = 2
"""Version of the format that is written."""

READ_VERSIONS = (1, 2)
"""Versions of the format that are read. A reader ignores marks of another version, and says so."""

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
    # What other tools record, and models listed here do not have. They come last, as a role's place is its number.
    "communication",
    "optimizer",
    "batch_norm",
)
"""What a module does, and what is done around modules."""

COMPONENTS = ("text_encoder", "image_encoder", "denoiser", "vae", "scheduler", "decoder")
"""Parts of a pipeline."""

PHASES = ("prefill", "decode")
"""Phases of an autoregressive model: a step with many queries at once, or with one."""

DIRECTIONS = ("forward", "backward")
"""What a call computes: outputs, or gradients."""

TOLD = ("observed", "named")
"""How a role was told: from what flowed through the module, or from names."""

LEVELS = ("step", "stage", "component", "block", "leaf")
"""Granularities of ranges, coarsest first. Each includes the ranges of those before it."""

DTYPES = ("float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2", "int64", "int32", "int8", "bool")

FIELDS: Mapping[str, str] = {
    "q_len": "Number of queries of an attention call, per head and batch entry.",
    "kv_len": "Number of keys of an attention call, per head and batch entry.",
    "heads": "Number of heads of an attention call.",
    "flops": "Floating-point operations of the call outside the ranges inside it; a multiply-add is two.",
    "bytes": "Least traffic of the call outside the ranges inside it: inputs, weights and outputs, once each.",
    "dtype": "Type of the first tensor, as position in `DTYPES`.",
    "step": "Number of the step in its run, from 0.",
    "phase": "Phase of the step, as position in `PHASES`.",
    "skipped": "Number of modules that the step left out, of those that ran in the first step of its run.",
    "direction": "What the call computes, as position in `DIRECTIONS`; absent for outputs.",
    "uncounted": "1 where the call did arithmetic whose operations nobody could count: `flops` is then too small.",
}
"""Values of a call, beside the shapes of its inputs (`shape.0.1` is the second dimension of the first input)."""

FIRST_CALL = 1000
"""Number of the first call; smaller categories are roles."""

PREFIX = "ttinsys/"
"""Prefix of the text of all our marks, of any version."""

_CURRENT = f"{PREFIX}{VERSION} "
CALL_TEXT = f"{_CURRENT}call"
"""Text of the mark that holds the call of the range around it."""

_READ = re.compile(rf"{PREFIX}(?:{'|'.join(map(str, READ_VERSIONS))}) ")


@dataclass(frozen=True, slots=True)
class ModuleLabel:
    """What is the same in every call of a module.

    Args:
        name: name of its ranges: the path of the module in the pipeline.
        role: one of `ROLES`.
        cls: name of its class, or of the function that is no module.
        component: one of `COMPONENTS`; None for the pipeline as a whole.
        attention: role of the attention that it is or belongs to; None outside attention.
        parameters: number of its parameters, with those of the modules inside it.
        level: coarsest of `LEVELS` at which it has ranges.
        told: how its role was told, one of `TOLD`; empty where there is none to tell.
    """

    name: str
    role: str = "other"
    cls: str = ""
    component: str | None = None
    attention: str | None = None
    parameters: int = 0
    level: str = "block"
    told: str = ""


def module_text(label: ModuleLabel) -> str:
    """Text of the mark that describes a module."""
    stated = {key: value for key, value in asdict(label).items() if value not in {None, "", 0}}
    return f"{_CURRENT}module {json.dumps(stated, ensure_ascii=False, separators=(',', ':'))}"


def run_text(run: Mapping[str, Any]) -> str:
    """Text of the mark that describes the run: model, request, versions."""
    return f"{_CURRENT}run {json.dumps(run, ensure_ascii=False, separators=(',', ':'))}"


def field_text(name: str) -> str:
    """Text of the mark that holds a value of a call: a name of `FIELDS`, or `shape.I.J`."""
    return _CURRENT + name


def field_texts(name: str) -> tuple[str, ...]:
    """Texts of such marks in every version that is read."""
    return tuple(f"{PREFIX}{version} {name}" for version in READ_VERSIONS)


CALL_TEXTS = field_texts("call")
"""Texts of marks that hold the call of the range around them, in every version that is read."""


def parse_module(text: str) -> ModuleLabel | None:
    """The label in the mark of a module; None where the text is no such mark, or is damaged."""
    content = _json_after("module ", text)
    if content is None or not isinstance(content.get("name"), str):
        return None
    sound: dict[str, Any] = {
        field.name: content[field.name]
        for field in fields(ModuleLabel)
        if isinstance(content.get(field.name), int if field.name == "parameters" else str)
    }
    return ModuleLabel(**sound)


def parse_run(text: str) -> dict[str, Any] | None:
    """The description in the mark of a run; None where the text is no such mark, or is damaged."""
    return _json_after("run ", text)


def parse_field(text: str) -> str | None:
    """The field whose value a mark holds; None where the text is no mark of a value."""
    read = _READ.match(text)
    name = text[read.end() :] if read else ""
    return name if name in FIELDS or name.startswith("shape.") else None


def version_of(text: str) -> int | None:
    """Version of the format of a mark; None where the text is no mark of ours."""
    match = re.match(rf"{PREFIX}([0-9]{{1,9}}) ", text)
    return int(match[1]) if match else None


def _json_after(kind: str, text: str) -> dict[str, Any] | None:
    read = _READ.match(text)
    if read is None or not text.startswith(kind, read.end()):
        return None
    try:
        content = load_json(text[read.end() + len(kind) :])
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


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
