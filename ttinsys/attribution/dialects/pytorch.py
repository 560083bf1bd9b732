"""PyTorch's own ranges: emit_nvtx, `nsys profile --pytorch`, torch.compile, and what the PyTorch profiler records."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import component_of_class, role_of_class

PROFILER_DOMAIN = "PyTorch"
"""Domain of operations and modules that the PyTorch profiler recorded; their payload is their sequence number."""

_HEAD, _NAME, _ATTRIBUTES = pl.col("head"), pl.col("name"), pl.col("payload_json")
_MODULE = r"^nn\.Module: (\w+?)(?:_\d+)?$"
_CLASS = _HEAD.str.extract(_MODULE, 1)
_GROUP = _CLASS.fill_null(_HEAD.str.replace(r"^(ProfilerStep)#\d+$", "$1"))
_OF_PROFILER = (pl.col("domain") == PROFILER_DOMAIN).fill_null(value=False)
_ENGINE = _HEAD.str.starts_with("autograd::engine::")  # only a frame around the backward, which has the number
# Wrappers of whole passes and of compiled graphs, which are no operations.
_WRAPPER = (
    r"^ProfilerStep#|^Torch-Compiled Region|^## Call CompiledFxGraph |^enumerate\(DataLoader\)#"
    r"|^DistributedDataParallel\.|^FullyShardedDataParallel\.|^FSDP::|^TorchDynamo |^Pregraph bytecode"
    r"|^AOTDispatcher |^CompiledFunction$"
)
_COMMUNICATES = (
    r"^(?:_?c10d(?:_functional)?::|nccl:|gloo:|mpi:|record_param_comms)|^FSDP::(?:all_gather|all_reduce"
    r"|reduce_scatter|post_backward_reduce)$"
)
_BACKWARD = _HEAD.str.contains(r"Backward\w*$|^torch::autograd::|^autograd::engine::")


def _between(text: pl.Expr, before: str, after: str) -> pl.Expr:
    """What stands between two literals, to the end where the second is absent; null where the first is.

    Literals are found five times as fast as a regular expression, and there may be millions of texts.
    """
    rest = text.str.slice(text.str.find(before, literal=True) + len(before))
    return rest.str.slice(0, rest.str.find(after, literal=True))


DIALECT = Dialect(
    name="pytorch",
    doc="PyTorch's emit_nvtx, nsys's --pytorch option, and the PyTorch profiler",
    source=(
        "torch/csrc/profiler/util.cpp (getNvtxStr); captures of openhackathons-org/AI-Profiler and GindaChen/nsys-ai; "
        "profiles of AMD-AGI/TraceLens"
    ),
    claims=_OF_PROFILER
    | _HEAD.str.contains(
        r"^(aten|prim|prims|c10d|torch|torchvision|torchao|autograd|torch::autograd|_C|xformers|flash_attn)::"
    )
    | _HEAD.str.contains(rf"^Optimizer\.|^nn\.Module: |{_WRAPPER}|{_COMMUNICATES}|^\w+Backward\d*$")
    | pl.col("rest").is_in(["seq ", "op_i", "size"]),
    reads={
        "group": _GROUP,
        "operation": pl.when(_CLASS.is_null() & ~_ENGINE & ~_HEAD.str.contains(_WRAPPER)).then(_HEAD),
        "class": _CLASS,
        "role": pl.coalesce(
            role_of_class(_CLASS), pl.when(_HEAD.str.contains(_COMMUNICATES)).then(pl.lit("communication"))
        ),
        "component": component_of_class(_CLASS),
        "is_module": _CLASS.is_not_null(),
        "direction": pl.when(_BACKWARD).then(pl.lit("backward")),
        "seq": _NAME.str.extract(r", seq = (\d+)", 1).cast(pl.Int64, strict=False),
        "sizes": pl.coalesce(
            _between(_NAME, ", sizes = ", ", input_op_ids"),
            _ATTRIBUTES.str.json_path_match("$['Input Dims']"),
        ),
        "types": _ATTRIBUTES.str.json_path_match("$['Input type']"),
        "values": _ATTRIBUTES.str.json_path_match("$['Concrete Inputs']"),
        "op_id": _NAME.str.extract(r", op_id = (\d+)", 1).cast(pl.Int64, strict=False),
        "inputs": _NAME.str.extract(r", input_op_ids = (\[.*\])$", 1),
    },
    examples={
        "aten::addmm, seq = 46185, op_id = 993813": {
            "group": "aten::addmm", "operation": "aten::addmm", "seq": 46185, "op_id": 993813,
        },
        "aten::linear, seq = 3, op_id = 9, sizes = [[1, 4096, 320], [320, 320], [320]], input_op_ids = [[7,0],[],[]]": {
            "group": "aten::linear", "sizes": "[[1, 4096, 320], [320, 320], [320]]", "inputs": "[[7,0],[],[]]",
        },
        "aten::zero_, seq = 885": {"group": "aten::zero_", "seq": 885},
        "autograd::engine::evaluate_function: ReluBackward0": {
            "group": "autograd::engine::evaluate_function: ReluBackward0", "direction": "backward",
        },
        "ToCopyBackward0, seq = 2088": {"group": "ToCopyBackward0", "seq": 2088, "direction": "backward"},
        "nn.Module: TimesformerLayer_3": {
            "group": "TimesformerLayer", "class": "TimesformerLayer", "is_module": True, "role": "other",
        },
        "nn.Module: Linear_12": {"group": "Linear", "role": "linear"},
        "nn.Module: FluxAttention_7": {"group": "FluxAttention", "role": "self_attention"},
        "ProfilerStep#6": {"group": "ProfilerStep", "operation": None},
        "Optimizer.step#Adadelta.step": {
            "group": "Optimizer.step#Adadelta.step", "operation": "Optimizer.step#Adadelta.step",
        },
        "nccl:all_to_all, op_id = 994196": {"group": "nccl:all_to_all", "role": "communication"},
        "FSDP::pre_forward (blocks.9._checkpoint_wrapped_module), op_id = 993930": {
            "group": "FSDP::pre_forward (blocks.9._checkpoint_wrapped_module)", "operation": None, "role": None,
        },
        "FlashAttnFunc, seq = 46214, op_id = 993864": {"group": "FlashAttnFunc", "operation": "FlashAttnFunc"},
        "Torch-Compiled Region: 4/2": {"group": "Torch-Compiled Region: 4/2", "operation": None, "direction": None},
        "## Call CompiledFxGraph fbvcwuqulrovfujd7iuc223hzjvp3lnu3ph7 ##": {
            "group": "## Call CompiledFxGraph fbvcwuqulrovfujd7iuc223hzjvp3lnu3ph7 ##", "operation": None,
        },
        "CompiledFunctionBackward, seq = 12": {"group": "CompiledFunctionBackward", "direction": "backward"},
    },
)  # fmt: skip
