"""Operators and precisions of kernels, read from their names by two ordered tables of rules.

    kernels.select("name").unique().with_columns(classify(pl.col("name")).alias("operator"))

The rules are data: `kernel_rules.tsv` and `kernel_precisions.tsv`, one rule a line, each with a kernel name as its
example. The first rule that matches wins. Patterns are regular expressions of Polars (no look-around) over the folded
name (`ttinsys.attribution.kernel_names`): lower case, words parted by underscores.

- `where` is `head` for patterns that are searched in the name of the function alone, and `name` for those that may
  match in its template arguments, too: PyTorch, CUTLASS and rocPRIM nest what is computed in that of a launcher.
- Inductor, Myelin, XLA and nvFuser list what they fuse, so their prefixes decide first. Communication, and bookkeeping
  around attention and experts, come before the words that they borrow. Words that any library may use come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from ttinsys.attribution.kernel_names import folded_names

OPERATORS: dict[str, str] = {
    "gemm": "Matrix-matrix, matrix-vector and dot products, and the kernels that reduce a split-K product.",
    "conv": "Convolution, forward or backward, by any algorithm, with its helpers (im2col, Winograd and FFT tiles).",
    "flash_attention": "Fused attention in one kernel of any library, dense, sparse or linear, with its combine and "
    "backward kernels; `variant` tells sparse and linear attention apart.",
    "softmax": "Softmax or log-softmax as a separate kernel.",
    "group_norm": "Group normalization: its statistics and their application.",
    "layer_norm": "Layer normalization, also fused with a modulation, and any normalization that the name leaves open.",
    "rms_norm": "Root-mean-square normalization, also fused with a residual, a rotary embedding or a quantization.",
    "batch_norm": "Batch normalization, and instance normalization that is computed by its kernels.",
    "elementwise": "Each output element from the inputs' same element: arithmetic, activation, fill, mask, rotary.",
    "reduce": "Sum, mean, maximum, norm or argmax over an axis, and prefix scans.",
    "copy": "Movement of data without arithmetic: copy, cast, concatenate, transpose, change of layout, pad.",
    "index": "Reads or writes at computed positions, and those positions: gather, scatter, embedding lookup, nonzero, "
    "cache slots, page tables, routing of tokens to experts.",
    "sort": "Sort and top-k.",
    "resample": "Upsampling, interpolation and grid sampling.",
    "pool": "Maximum and average pooling.",
    "random": "Random numbers, including dropout and the sampling of tokens.",
    "quantize": "Conversion to or from a quantized type, with its scales; `variant` tells dequantization apart.",
    "fft": "Fourier transform.",
    "loss": "Training loss.",
    "optimizer": "Optimizer step.",
    "stencil": "Each grid point from its neighbours, as in a Jacobi iteration.",
    "nccl": "Communication between GPUs: NCCL, RCCL, NVSHMEM, and the collectives of frameworks.",
    "triton_pointwise": "Inductor pointwise kernel that fuses several operators (triton_poi_).",
    "triton_reduction": "Inductor reduction that loops over its axis (triton_red_).",
    "triton_persistent_reduction": "Inductor reduction that holds its whole axis at once (triton_per_).",
    "triton_template": "Inductor template whose name has no matrix product, convolution or attention (triton_tem_).",
    "other": "Claimed by no rule.",
}
"""Meaning of each operator."""

VARIANTS: dict[str, str] = {
    "sparse_attention": "Attention to some keys: block-sparse, sliding tile, neighbourhood, native sparse.",
    "linear_attention": "Attention as a recurrence: gated delta rule, gated linear attention, Mamba, RWKV, SANA.",
    "dequantize": "Conversion from a quantized type.",
    "all_to_all": "Exchange of every GPU with every other.",
    "relayout": "Rearrangement of heads and tokens for sequence parallelism or sparse attention.",
}
"""Meaning of each variant of an operator, where names tell it."""

PRECISIONS = ("bf16", "fp16", "tf32", "fp32", "fp64", "fp8", "fp4", "int8")
"""Precisions of operands that names tell."""


@dataclass(frozen=True, slots=True)
class OperatorRule:
    """A pattern that claims kernel names for one operator.

    Attributes:
        operator: a key of `OPERATORS`.
        variant: a key of `VARIANTS`, or empty.
        where: `head` or `name`: the part of the folded name in which `pattern` is searched.
        pattern: regular expression in the syntax of Polars.
        example: a kernel name that this rule, and no earlier one, claims.
        source: where that name was seen; `constructed` where it was put together from its library's source.
    """

    operator: str
    variant: str
    where: str
    pattern: str
    example: str
    source: str


@dataclass(frozen=True, slots=True)
class PrecisionRule:
    """A pattern that tells the precision of a kernel's operands; fields as those of `OperatorRule`.

    Attributes:
        precision: one of `PRECISIONS`, or empty where names of this form do not tell it.
    """

    precision: str
    pattern: str
    example: str
    source: str


def _rows(file: str) -> list[list[str]]:
    """The lines of a table beside this file, without its heading, in columns."""
    lines = Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]


@cache
def operator_rules() -> tuple[OperatorRule, ...]:
    """The rules of `kernel_rules.tsv`, in order."""
    return tuple(OperatorRule(*row) for row in _rows("kernel_rules.tsv"))


@cache
def precision_rules() -> tuple[PrecisionRule, ...]:
    """The rules of `kernel_precisions.tsv`, in order."""
    return tuple(PrecisionRule(*row) for row in _rows("kernel_precisions.tsv"))


def classify(name: pl.Expr) -> pl.Expr:
    """Operator of each kernel name.

    Every rule is tried on every name: pass the distinct names of a trace, a few hundred, not its kernels.

    Args:
        name: kernel names, String.

    Returns:
        A String expression under the name of the input: a key of `OPERATORS`, `other` where no rule matches, null where
        the name is null.
    """
    return _by_rule(name, [rule.operator for rule in operator_rules()], "other")


def variant(name: pl.Expr) -> pl.Expr:
    """Variant of the operator of each kernel name, as `classify` reads it.

    Args:
        name: kernel names, String.

    Returns:
        A String expression under the name of the input: a key of `VARIANTS`, null where the name tells none.
    """
    return _by_rule(name, [rule.variant for rule in operator_rules()])


def precision(name: pl.Expr) -> pl.Expr:
    """Precision of the operands of each kernel, not of its accumulators; the wider one where two operands differ.

    A kernel that quantizes or dequantizes has the precision of the quantized type.

    Args:
        name: kernel names, String.

    Returns:
        A String expression under the name of the input: one of `PRECISIONS`, null where the name does not tell it.
    """
    rules = precision_rules()
    return _labels(name, [("name", rule.pattern) for rule in rules], [rule.precision for rule in rules])


def _by_rule(name: pl.Expr, values: Sequence[str], default: str | None = None) -> pl.Expr:
    """The value of the first operator rule that matches, `default` where none does, null where the value is empty."""
    return _labels(name, [(rule.where, rule.pattern) for rule in operator_rules()], values, default)


def _labels(
    name: pl.Expr, patterns: Sequence[tuple[str, str]], values: Sequence[str], default: str | None = None
) -> pl.Expr:
    """The value of the first pattern that matches, `default` where none does, null where the value is empty.

    Args:
        name: kernel names.
        patterns: the part of the folded name that a pattern is searched in, and the pattern.
        values: one per pattern.
        default: for names that no pattern matches.
    """
    claims = [pl.col(part).str.contains(_ascii(pattern)) for part, pattern in patterns]
    # An empty value ends the search as any other does; coalesce would pass a null.
    first = pl.coalesce(
        *(pl.when(claim).then(pl.lit(value)) for claim, value in zip(claims, values, strict=True)), pl.lit(default)
    )

    def of_batch(names: pl.Series) -> pl.Series:
        # Folded here, once: in one expression with the claims, each of a hundred rules would fold the names again. The
        # column comes whole, and leaves its chunks: each of them would compile every pattern again.
        matched = folded_names(names.rechunk()).select("name", first.alias("first"))
        label = pl.when(pl.col("name").is_not_null(), pl.col("first") != "").then("first")
        return matched.select(label.alias(names.name)).to_series()

    return name.map_batches(of_batch, return_dtype=pl.String)


def _ascii(pattern: str) -> str:
    """A pattern without the classes of Unicode, which take long to compile."""
    return pattern.replace(r"\w", "[a-z0-9_]").replace(r"\d", "[0-9]")
