"""Kernel names in forms that rules and people can read.

A name is what nsys and PyTorch's profiler print: demangled, or mangled where the compiler was Triton or HIP.
"""

from __future__ import annotations

import polars as pl

_LOCAL = r"\(anonymous namespace\)::|<unnamed>::|\{anonymous\}::"
_WRAPPING = r"^void |^std::enable_if<.*?>::type | \[clone [^\]]*\]|\.kd$"
"""Return types before a name, and what the compilers of HIP write after it."""
_CASTS = r"\((?:int|bool|unsigned int|unsigned long|long)\)"
"""nsys casts template arguments, PyTorch's profiler does not: `(bool)1` and `true`."""
_CACHE_TYPE = r"(?:vllm::)?\d*Fp8KVCacheDataType"
"""vLLM names this type in every kernel that touches its cache, whether the cache is quantized or not."""
_MANGLED_ARGUMENTS = r"^(_Z.*?[a-z0-9])I(?:DF|L[a-z]|N\d|NS|\d|[fdbhijlmsty](?:[A-Z0-9]|[fdbhijlmsty]{0,6}[EL])).*$"
"""The template arguments of a mangled name: `I`, then a type or a literal."""


def folded_names(names: pl.Series) -> pl.DataFrame:
    """Names in lower case, with underscores between words: libraries spell `LayerNorm`, `layernorm`, `layer_norm`.

    Args:
        names: kernel names, String.

    Returns:
        `head`, the function itself with its namespaces, and `name`, with template arguments and parameters, too:
        `layer_norm_kernel` and `layer_norm_kernel<float>` for `void LayerNormKernel<float>`.
    """
    plain = pl.DataFrame({"name": names}).select(
        pl.col("name").str.replace_all(f"{_LOCAL}|{_WRAPPING}|{_CACHE_TYPE}|{_CASTS}", "")
    )
    head = pl.col("name").str.replace(_MANGLED_ARGUMENTS, "$1").str.extract(r"^([^<(]*)")
    return plain.select(_words(head).alias("head"), _words(pl.col("name")).alias("name"))


def _words(name: pl.Expr) -> pl.Expr:
    return name.str.replace_all(r"([a-z])([A-Z])|([0-9])([A-Z][a-z])", "${1}${3}_${2}${4}").str.to_lowercase()


_NOISE = rf"{_LOCAL}|{_WRAPPING}|\b[A-Za-z_]\w*::|{_CASTS}|\bconst | const\b"
"""What most kernels share: namespaces, return types, casts of template arguments."""
_LAUNCHER = r"^(\w*elementwise_kernel\w*|reduce_kernel|multi_tensor_apply_kernel)<"
"""Kernels of PyTorch that run a functor, which is one of their template arguments."""
_WRAPPER = r"\b([AB]?(?:Unary|Binary)Functor)<(complex<\w+>|\w+)"
"""Functors of PyTorch that call another one, with the type of their first operand; A and B bind one to a scalar."""
_AROUND_FUNCTOR = (
    r"^\w+<(?:void |-?\d+(?:u?l)?, |(?:\w+ )?\w+\*?, |complex<\w+>, |\w+Metadata<[^<>]*>, "
    r"|(?:gpu_kernel_impl(?:_nocast)?|gpu_index_kernel|apply|[AB]?(?:Unary|Binary)Functor|ReduceOp|func_wrapper_t)<"
    r"|type_specialized_broadcast_kernel_launcher<\d+>::|(?:Unary|Binary|Ternary|Pointwise)Op\w*<[^<>]*>, )*"
)
"""Launcher, its numbers and types, and the functions and functors that only call the functor."""
_PARAMETERS = r"(.)\((?:[^()]|\([^()]*\))*\)$"


def display_name(name: pl.Expr) -> pl.Expr:
    """A name that tells kernels apart in little room: functor and launcher, or the name without what many share.

    PyTorch's `vectorized_elementwise_kernel<4, CUDAFunctor_add<float>, ...>` is
    `CUDAFunctor_add<float> (vectorized_elementwise)`. Kernels of CUTLASS lose the function that launches them, all
    others their namespaces and parameters. Where two names would look alike, they keep more.

    Args:
        name: distinct kernel names, String.
    """
    plain = name.str.replace_all(_NOISE, "")
    whole = plain.str.replace(_PARAMETERS, "$1")
    for around in (r"^(?:device_kernel|Kernel2?)<(.+?) ?>$", r"^enable_\w+<(.+?) ?>$"):
        whole = whole.str.replace(around, "$1")
    launcher = plain.str.extract(_LAUNCHER).str.replace("_kernel", "", literal=True)
    numbers = plain.str.extract(r"^\w+<((?:-?\d+, )*-?\d+), ")
    functor = _functor(plain)
    by_launcher = pl.format("{} ({})", functor, launcher)
    by_size = pl.format("{} ({}<{}>)", functor, launcher, numbers)
    forms = [pl.coalesce(by_launcher, whole), pl.coalesce(by_size, whole), whole]
    return pl.coalesce(*(pl.when(form.is_unique()).then(form) for form in forms), name)


def _functor(plain: pl.Expr) -> pl.Expr:
    """The functor that a launcher of PyTorch runs, with the type of its operands; null where there is none."""
    functor = plain.str.replace(_AROUND_FUNCTOR, "")
    # The type of a lambda's argument is that of its operand; the function around it often has no template arguments.
    is_lambda = functor.str.contains(r"^\w+(?:<[^<>]*>)?\([^()]*\)::[\[{]lambda")
    types = pl.coalesce(
        plain.str.extract(_WRAPPER, 2),
        pl.when(is_lambda).then(functor.str.extract(r"lambda\(([^()]+)\)")),
        functor.str.extract(r"^\w+<((?:[^<>]|<[^<>]*>)*)>"),
    )
    bound = plain.str.extract(r"\b([AB])UnaryFunctor<")
    first = pl.when(bound == "A").then(pl.lit("scalar, ")).otherwise(pl.lit(""))
    second = pl.when(bound == "B").then(pl.lit(", scalar")).otherwise(pl.lit(""))
    typed = pl.format("<{}{}{}>", first, types, second).fill_null("")
    return pl.concat_str(functor.str.extract(r"^(\w+)"), typed)
