"""Iterations of servers of language models: vLLM, SGLang and TensorRT-LLM name each with the requests in its batch."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import folded

_HEAD, _NAME = pl.col("head"), pl.col("name")
_MODE = _HEAD.str.extract(r"(?i)^step\[\s*(\w+)", 1).str.to_uppercase()
_EXECUTOR = r"^\[Executor\] _forward_step"
_VLLM = r"^execute_(?:\d+_)?context_(\d+)\(.*\)_generation_(\d+)\("
_PROMPTS = pl.coalesce(_NAME.str.extract(_VLLM, 1), _NAME.str.extract(r": (\d+) ctx reqs", 1)).cast(
    pl.Int64, strict=False
)
_TOKENS = pl.coalesce(_NAME.str.extract(_VLLM, 2), _NAME.str.extract(r" (\d+) gen reqs", 1)).cast(
    pl.Int64, strict=False
)

DIALECT = Dialect(
    name="serving",
    doc="vLLM's execute_context_..., SGLang's step[...], TensorRT-LLM's _forward_step",
    source=(
        "tests of AMD-AGI/TraceLens (split_inference_trace_annotation); "
        "tensorrt_llm/_torch/pyexecutor/py_executor.py"
    ),
    claims=_HEAD.str.contains(
        rf"(?i)^step\[\s*(?:decode|extend|mixed|idle|prefill|target_verify|draft_extend)\b|{_VLLM}"
    )
    | _HEAD.str.contains(_EXECUTOR),
    reads={
        "group": pl.coalesce(
            pl.format("step[{}]", _MODE),
            pl.when(_HEAD.str.contains(_EXECUTOR)).then(pl.lit("[Executor] _forward_step")),
            # What stands in brackets counts tokens of this batch.
            folded(_NAME.str.replace_all(r"\([^()]*\)", "(#)")),
        ),
        # A batch of prompts and tokens at once is neither.
        "phase": pl.when((_MODE == "DECODE") | ((_PROMPTS == 0) & (_TOKENS > 0))).then(pl.lit("decode"))
        .when(_MODE.is_in(["EXTEND", "PREFILL"]) | ((_PROMPTS > 0) & (_TOKENS == 0))).then(pl.lit("prefill")),
        "step": _HEAD.str.extract(rf"{_EXECUTOR} (\d{{1,18}}):", 1).cast(pl.Int64, strict=False),
    },
    examples={
        "step[DECODE bs=64]": {"group": "step[DECODE]", "phase": "decode", "step": None},
        "step[EXTEND bs=4 toks=512]": {"group": "step[EXTEND]", "phase": "prefill"},
        "step[MIXED bs=8 toks=100]": {"group": "step[MIXED]", "phase": None},
        "execute_context_5(10)_generation_3(8)": {"group": "execute_context_#(#)_generation_#(#)", "phase": None},
        "execute_context_0(0)_generation_64(64)": {"phase": "decode"},
        "[Executor] _forward_step 60000: 0 ctx reqs, 0 ctx tokens, 32 gen reqs": {
            "group": "[Executor] _forward_step", "phase": "decode", "step": 60000,
        },
        "[Executor] _forward_step 7: 2 ctx reqs, 0 gen reqs": {"phase": "prefill", "step": 7},
    },
)  # fmt: skip
