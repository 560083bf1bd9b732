"""Traces of models that PyTorch itself recorded, against what our annotation knows of the same run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ttinsys
from parsers import Trace
from tests.build import TraceBuilder
from tests.shared import slow
from ttinsys.attribution.labels import ATTENTION_ROLES, FAMILIES

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from annotate import annotate
from annotate.backends import Recorder
from annotate.choices import attention
from tests.aten_calls import profiled
from tests.tiny import generate, quiet, with_attention

COUNTED = {"attention", "convolution", "linear"}
"""Families of which each call of a module is one operation; a norm may be several."""


def family(role: str | None) -> str | None:
    return next((name for name, roles in FAMILIES.items() if role in roles), None)


def annotated(name: str, chosen: str, path: Path) -> tuple[int, Counter[str], Counter[tuple[int, int]]]:
    """FLOPs of a run, calls by family, and lengths of attention calls, as annotation has them; PyTorch's in `path`."""
    pipeline, recorder = with_attention(name, chosen), Recorder()
    with attention(pipeline, chosen), annotate(pipeline, backend=recorder, name=name) as annotation:
        profiled(lambda: generate(name, pipeline), path)
    flops, families, lengths = 0, Counter[str](), Counter[tuple[int, int]]()
    for opened in recorder.ranges:
        values: Mapping[str, Any] = annotation.tracer.calls.values(opened.call)
        flops += values.get("flops") or 0
        if values.get("q_len"):
            lengths[values["q_len"], values["kv_len"]] += 1
            families["attention"] += 1
        elif opened.role not in ATTENTION_ROLES and (of := family(opened.role)):
            families[of] += 1
    return flops, families, lengths


def told(trace: Trace) -> tuple[int, Counter[str], Counter[tuple[int, int]]]:
    """The same of a trace without our annotation."""
    calls = ttinsys.ranges(trace).filter(pl.col("role").is_not_null()).collect()
    lengths = Counter(calls.drop_nulls("q_len").select("q_len", "kv_len").iter_rows())
    # A module and the operation in it have one role: only the operation counts.
    inner = calls.filter(
        pl.col("class").is_null() & (pl.col("role").is_in(ATTENTION_ROLES) <= pl.col("q_len").is_not_null())
    )
    families = Counter(of for role in inner["role"] if (of := family(role)))
    return int(calls["flops"].sum()), families, lengths


def as_emit_nvtx(path: Path, folder: Path) -> Trace:
    """A capture of nsys of the same operations, named as PyTorch's emit_nvtx names them: without types and strides."""
    events = [one for one in json.loads(path.read_text())["traceEvents"] if one.get("cat") == "cpu_op"]
    builder = TraceBuilder()
    thread = builder.thread()
    first = min(float(one["ts"]) for one in events)
    for number, one in enumerate(events):
        start = round((float(one["ts"]) - first) * 1000)
        sizes = json.dumps(one["args"].get("Input Dims", []))
        name = f"{one['name']}, seq = {number}, op_id = {number}, sizes = {sizes}"
        builder.range(thread, name, start, start + round(float(one["dur"]) * 1000))
    builder.kernel(thread, "sgemm", launch=(0, 1), gpu=(2, 3))
    return builder.load(folder)


FIVE = ("stable-diffusion", "latte", "llama2-7b", "sd3", "wan-1.3b")


@pytest.mark.slow(1)
@quiet
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("source", ["profiler", "emit_nvtx"])
@pytest.mark.parametrize("chosen", ["sdpa", slow("eager", seconds=10)])
@pytest.mark.parametrize("name", [name if name == "latte" else slow(name, seconds=10) for name in FIVE])
def test_flops_lengths_and_families_are_those_of_annotation(
    name: str, chosen: str, source: str, tmp_path: Path
) -> None:
    path = tmp_path / "trace.json"
    flops, families, lengths = annotated(name, chosen, path)
    trace = ttinsys.load(path) if source == "profiler" else as_emit_nvtx(path, tmp_path)
    found_flops, found_families, found_lengths = told(trace)
    assert found_flops == pytest.approx(flops, rel=0.02)
    assert found_lengths == lengths
    assert {of: found_families[of] for of in COUNTED} == {of: families[of] for of in COUNTED}
    # Annotation also calls the modules norms that hold one and the linear layer that modulates it.
    assert 0.8 * families["norm"] <= found_families["norm"] <= families["norm"]
