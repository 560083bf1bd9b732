"""Frameworks for training: Megatron-LM and NeMo, DeepSpeed, and PyTorch Lightning."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import component_of_path, first_rule, role_of_class, role_of_path

_HEAD = pl.col("head")
_MEGATRON = r"^(?:megatron|nemo)\.(?:\w+\.)*\w+$"
_SUFFIX = pl.when(_HEAD.str.contains(_MEGATRON)).then(_HEAD.str.extract(r"((?:\.?\w+){1,2})$", 1).str.strip_chars("."))
_DEEPSPEED = (
    r"^(?:DeepSpeed\w*|PartitionedParameterCoordinator|\w*ZeroOptimizer\w*|PipelineEngine|Init|BF16_Optimizer"
    r"|FP16_\w*Optimizer)\.\w+$"
)
_LIGHTNING = r"^\[pl\]\[module\](?:\w+\.)*(\w+)$"
_CLASS = _HEAD.str.extract(r"^\[pl\]\[module\](?:\w+\.)*(\w+)(?:: |$)", 1)
_MODULE = _HEAD.str.extract(r"^\[pl\]\[module\][\w.]+: (\S+)$", 1)
_BY_FUNCTION = (
    ("communication", r"(?i)all_?gather|reduce_?scatter|all_?reduce|all_?to_?all|send_|recv_|_ipg_grads|reduce_ready"),
    ("self_attention", r"\.(?:core_attention|flash_decode\w*|self_attention)$"),
    ("linear", r"\.(?:linear_fc1|linear_fc2|linear_proj|qkv)$"),
    ("rope", r"\.(?:rotary_pos_emb\w*|apply_rope\w*)$"),
)  # fmt: skip

DIALECT = Dialect(
    name="training",
    doc="Megatron-LM and NeMo (function and suffix), DeepSpeed (instrument_w_nvtx), Lightning ([pl][module])",
    source=(
        "megatron/core/utils.py (nvtx_range_push), deepspeed/utils/nvtx.py, lightning/pytorch/profilers/pytorch.py "
        "and its tests"
    ),
    claims=_HEAD.str.contains(rf"{_MEGATRON}|{_DEEPSPEED}|^\[pl\]\[(?:module|profile)\]")
    | (pl.col("domain") == "DeepSpeed").fill_null(value=False),
    reads={
        "group": pl.coalesce(_MODULE, _CLASS, _HEAD),
        "class": _CLASS,
        "is_module": _CLASS.is_not_null(),
        "role": pl.coalesce(
            role_of_class(_CLASS),
            role_of_path(_MODULE),
            first_rule(_BY_FUNCTION, _HEAD),
            pl.when(role_of_path(_SUFFIX) != "other").then(role_of_path(_SUFFIX)),
        ),
        "component": component_of_path(_MODULE),
        "direction": pl.when(_HEAD.str.contains(
            r"\.(?:backward|_backward\w*|backward_\w+)(?:\.|$)"
        )).then(pl.lit("backward")),
    },
    examples={
        "megatron.core.transformer.mlp.forward.linear_fc1": {
            "group": "megatron.core.transformer.mlp.forward.linear_fc1", "role": "linear", "is_module": False,
        },
        "megatron.core.transformer.attention.forward.qkv": {"role": "linear"},
        "megatron.core.transformer.transformer_layer.forward.self_attention": {"role": "self_attention"},
        "DeepSpeedEngine.backward": {"group": "DeepSpeedEngine.backward", "direction": "backward", "role": None},
        "PartitionedParameterCoordinator.fetch_sub_module": {"role": None},
        "DeepSpeedZeroOptimizer_Stage3.reduce_ready_partitions_and_remove_grads": {"role": "communication"},
        "Init.all_gather_coalesced": {"domain": "DeepSpeed", "role": "communication"},
        "[pl][module]torch.nn.modules.linear.Linear: layer.0": {
            "group": "layer.0", "class": "Linear", "is_module": True, "role": "linear",
        },
        "[pl][profile]run_training_epoch": {"group": "[pl][profile]run_training_epoch", "is_module": False},
    },
)  # fmt: skip
