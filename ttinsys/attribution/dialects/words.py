"""What the paths and classes of modules tell: expressions that several dialects share.

Names decide only where nothing better is known: sizes of operations, where there are any, come first. The tables were
checked against every module of the models that `annotate` builds. Where a name fits two kinds of modules they abstain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from annotate import naming
else:
    from ttinsys._annotate import naming

MODULE_PATH = r"^[A-Za-z_]\w*(\.\w+)+$"
"""A path of modules: names joined by dots, at least two."""

_WRAPPERS = r"\.(?:_checkpoint_wrapped_module|_fsdp_wrapped_module|_orig_mod)\b"
_TEMPORAL = (
    rf"(?:^|\.)(?:{'|'.join(naming.TEMPORAL_NAMES)}|temporal_blocks|time_stack)\b"
    r"|temporal_(?:attn|attention)|temp_attn|time_attn|attn_temp|attn\d?_tmp"
)
_DOUBLE_SELF = r"(?:^|\.)(?:temp_attentions|motion_modules|transformer_in)\b"
_UNET = r"(?:^|\.)(?:down_blocks|mid_block|up_blocks|input_blocks|middle_block|output_blocks)\..*transformer_blocks"


def last_names(patterns: str) -> str:
    """A pattern for paths that end in one of these patterns, which spaces separate, as whole names."""
    # Rust's regular expressions search what ends in `$` from the end, which keeps long paths cheap.
    return rf"(?i)(?:^|\.)(?:{'|'.join(patterns.split())})$"


_ATTENTION_END = last_names(
    r"""\w*attn(?:\d|_\d|\d?_tmp)?(?:\.(?:self|fn))? \w*attention(?:\.(?:self|fn))?
    (?:encoder|decoder)\.(?:mid_block|block_in|block_out|(?:down|up)_blocks\.\d+)\.attentions\.\d+"""
)
_NOT_ATTENTION_END = r"(?i)(?:norm|ln|conv|lora|gate)_?\w*attn|attn_(?:norm|ln)|norm\d?_\w*attention"
_ROLE_BY_END = (
    ("other", last_names(
        r"""(?:\w*blocks?|layers?|resnets|attentions|temp_attentions|temp_convs|motion_modules|h)(?:\.\d+)?
        DenseReluDense DenseActDense temp_convs\.\d+\.conv\d"""
    )),
    # Sequences of modules, of which only the position is known: those of diffusers, of latent diffusion and of MLPs.
    ("group_norm", last_names(r"temp_convs\.\d+\.conv\d\.0 (?:in_layers|out_layers)\.0 out\.0")),
    ("activation", last_names(
        r"""temp_convs\.\d+\.conv\d\.1 (?:in_layers|out_layers)\.1 emb_layers\.0 ffn?(?:_\w+)?\.net\.0
        time_embed\.1 label_emb\.0\.1 \w*mlp\.1"""
    )),
    ("temporal_conv", last_names(
        r"temp_convs\.\d+\.conv\d\.[23] temporal_res_block\.conv\d? time_conv \w*temporal_conv\w*"
    )),
    ("spatial_conv", last_names(
        r"""in_layers\.2 out_layers\.3 input_blocks\.0\.0 out\.2 op patch_embed\w*\.proj(?:ection)? patch_embedding"""
    )),
    ("linear", last_names(
        r"""emb_layers\.1 (?:time_embed|label_emb\.0)\.[02]
        \w*(?:net|mlp|ffn?|feed_forward|to_out|to_add_out|text_embedder)\.\d(?:\.proj)?"""
    )),
    ("activation", last_names(
        r"""act act_fn act_?\d activation activation_fn \w+_act \w+_act_fn act_mlp nonlinearity
        silu\w* \w*gelu\w* relu\w* swish sigmoid softmax tanh"""
    )),
    ("pointwise_conv", last_names(
        r"(?:\w*quant_conv|conv_[yb]|conv_shortcut|nin_shortcut|skip_connection)(?:\.conv)?"
    )),
    ("group_norm", last_names(
        r"""\w*group_?norm\w* gn\d? conv_norm_out spatial_norm norms\.\d+ norm_layer norm_cross
        (?:encoder|decoder)\.norm_out (?:spatial|temporal)_res_block\.norm\d?
        (?:(?:resnets|upsamplers|downsamplers)\.\d+|(?:down|up)\.\d+\.block\.\d+|mid\.block_\d)\.norm\d?
        (?:(?:temp_)?attentions|motion_modules|middle_block|(?:input|output)_blocks\.\d+)\.\d+\.norm
        transformer_in\.norm mid\.attn_\d\.norm"""
    )),
    # Among them the norms of T5, and of language models since Llama, which keep the name of what they replaced.
    ("rms_norm", last_names(
        r"""\w*rms_?norm\w* norm_(?:added_)?[qkv] [qkv]_norm (?:query|key)_(?:layer)?norm
        block\.\d+\.layer\.\d+\.layer_norm (?:encoder|decoder)\.final_layer_norm
        layers\.\d+\.(?:self_attn\.)?\w+_layernorm (?:model|language_model)\.norm"""
    )),
    ("layer_norm", last_names(r"ln ln_?\w+ \w*norm\w* adaln_single")),
    ("rope", last_names(r"\w*rotary\w* rope \w+_rope rope_\w+ freqs_cis")),
    ("elementwise", last_names(r"time_mixer \w*_scale_shift")),
    ("spatial_conv", last_names(r"\w*conv(?:_?\d)? \w*conv_(?:in|out|\w*transpose|\w{0,4}) depthwise\w*")),
    ("resample", last_names(
        r"(?:(?:up|down)sampl(?:e|er|ers|ing)\w*|interpolate\w*|avg_?pool\w*|max_?pool\w*)(?:\.\d+)?"
    )),
    ("embedding", last_names(
        r"""\w*time_proj shared relative_attention_bias wte wpe \w*embed(?:s|ding|dings|_tokens|_positions)?
        \w*time\w*_embedder condition_embedder quantize"""
    )),
    ("linear", last_names(
        r"""to_\w+ add_[qkv]_proj w?qkv kv [qkvo] w[qkvo123]? wi(?:_\d)? query key value query_key_value
        \w*_?proj proj_\w+ fused_\w+_proj\w* c_attn c_fc \w*dense\w* fc fc_?\d fc_\w+ lin lin_\w+ lin\d \w*linear\w*
        lm_head score classifier x_embedder context_embedder \w+_mapper output_layer \w+_projection"""
    )),
)  # fmt: skip
"""Roles by the end of a module's path, tried in this order after attention."""

_BLOCK_CLASS = (
    r"(?:Down|Up|Mid|Res|Resnet|Residual|Transformer|Decoder|Encoder)\w*Block\w*$|Block(?:\dD)?$|^T5Layer\w*Attention$"
    r"|Layer(?:Self|Cross)Attention$|(?:Layer|Model|Encoder|Decoder|MLP|FeedForward|Stack|Transformer|MoE"
    r"|Pipeline)$|LayerFF$|For[A-Z]\w+$"
)
_ROLE_BY_CLASS = (
    ("linear", (
        r"^Conv1D$|(?:^|[a-z0-9_])(?:Linear)(?:\d*bit\w*|Method|WithLoRA|Layer|Lt)?$|ParallelLinear\w*$"
        r"|^ParallelLMHead$|^LayerNorm(?:Linear|MLP)$"
    )),
    ("spatiotemporal_conv", r"Conv3d\w*$|Conv3D\w*$"),
    ("spatial_conv", r"Conv(?:Transpose)?[12]d\w*$|Conv2D\w*$|^PatchEmbedConv$"),
    ("batch_norm", r"BatchNorm|InstanceNorm"),
    ("rope", r"Rotary|R[oO]PE|Rope"),
    ("embedding", r"Embeddings?$"),
    ("activation", r"(?i)(?:silu|gelu|relu|swiglu)(?:AndMul|Activation|Tanh)?$"),
    ("resample", r"^(?:Adaptive)?(?:Avg|Max)Pool|^ZeroPad|^Pixel(?:Uns|S)huffle"),
    ("rearrange", r"^(?:Flatten|Unflatten|Rearrange|Permute)$"),
)  # fmt: skip
_OF_ATTENTION = (
    ("cross_attention", r"^\w+CrossAttention\w*$|EncDecAttention|CrossAttn\w*$"),
    ("temporal_attention", r"Temporal\w*Att|TimeAtt"),
    ("joint_attention", r"Joint\w*Att"),
    ("spatial_attention", r"Spatial\w*Att"),
)
_NOT_CROSS = r"^MemoryEfficientCrossAttention|^(?:SelfCross|Self)\w*"
_COMPONENT_OF_CLASS = (
    *naming.COMPONENT_OF_CLASS,
    ("denoiser", (r"(?:Transformer|UNet|UVit)\w*(?:2D|3D|Motion|SpatioTemporal|Condition)\w*Model$|^UNet\w*Model$"
     r"|DiT(?:Model)?$|ControlNet\w*Model$|^UVit\w*Model$|^PriorTransformer$|^MaskGitTransformer$")),
    ("decoder", (
        r"ForCausalLM$|ForConditionalGeneration$|^(?:Qwen|Llama|Mistral|Mixtral|Gemma|GPT|Phi|Opt|OPT|Falcon"
        r"|Deepseek)\w*Model$"
    )),
)  # fmt: skip
_COMPONENT_OF_NAME = (
    *naming.COMPONENT_OF_ATTRIBUTE,
    ("vae", r"^(?:first_stage_model|autoencoder|tae|quant_conv|post_quant_conv)$"),
    ("text_encoder", r"^(?:cond_stage_model|conditioner|clip|t5|t5xxl)$"),
    ("image_encoder", r"^(?:vision_model|vision_tower|visual)$"),
    ("denoiser", (r"^(?:unet|transformer|transformer_\d|dit|diffusion_model|denoiser|controlnet|prior"
     r"|input_blocks|middle_block|output_blocks|double_blocks|single_blocks|single_transformer_blocks)$")),
)  # fmt: skip


def role_of_path(path: pl.Expr) -> pl.Expr:
    """Role of a module by its path; `other` where the path does not tell, null without a path.

    The role of an attention is `self_attention` until its lengths say more.
    """
    return _of_distinct(path, _role_of_path)


def _role_of_path(path: pl.Expr) -> pl.Expr:
    path = path.str.replace_all(_WRAPPERS, "")
    attention = path.str.contains(_ATTENTION_END) & ~path.str.contains(_NOT_ATTENTION_END)
    cross = path.str.contains(rf"{naming.CROSS_NAME}|cross_attention|attn2_tmp$") & ~path.str.contains(_DOUBLE_SELF)
    kind = (
        pl.when(cross).then(pl.lit("cross_attention"))
        .when(path.str.contains(_TEMPORAL)).then(pl.lit("temporal_attention"))
        # Text and picture in one attention: blocks that have one attention, without a number.
        .when(path.str.contains(r"(?:^|\.)(?:single_)?transformer_blocks\.\d+\.attn$")).then(pl.lit("joint_attention"))
        .when(path.str.contains(_UNET)).then(pl.lit("spatial_attention"))
        .otherwise(pl.lit("self_attention"))
    )  # fmt: skip
    return (
        pl.when(attention)
        .then(kind)
        .otherwise(pl.coalesce(first_rule(_ROLE_BY_END, path), pl.when(path.is_not_null()).then(pl.lit("other"))))
    )


def role_of_class(name: pl.Expr) -> pl.Expr:
    """Role of a class of modules by its name; null where the name does not tell.

    The role of an attention is `self_attention` until its lengths say more.
    """
    return _of_distinct(name, _role_of_class)


def _role_of_class(name: pl.Expr) -> pl.Expr:
    cross = name.str.contains(_NOT_CROSS)
    kind = first_rule(_OF_ATTENTION, pl.when(~cross).then(name)).fill_null("self_attention")
    block = pl.when(name.str.contains(_BLOCK_CLASS)).then(pl.lit("other"))
    return (
        pl.when(is_attention_class(name))
        .then(kind)
        .otherwise(
            pl.coalesce(first_rule(_ROLE_BY_CLASS, name), block, first_rule(naming.ROLE_OF_CLASS, name)),
        )
    )


def is_attention_class(name: pl.Expr) -> pl.Expr:
    """Whether a class is an attention, by its name; blocks and outputs of attention are none."""
    block_of_attention = name.str.contains(r"^(?:\w*[a-z])?(?:Attn|Attention)Block\w*$")
    named = name.str.contains(naming.ATTENTION_CLASS)
    part = r"(?:Output|MLP|Mask|Bias|Config|Norm|Embedding|Linear)$|Processor|Backend|Metadata"
    return named & (block_of_attention | ~name.str.contains(_BLOCK_CLASS)) & ~name.str.contains(part)


def component_of_class(name: pl.Expr) -> pl.Expr:
    """Part of a pipeline by the class of the component; null where it does not tell."""
    return _of_distinct(name, lambda distinct: first_rule(_COMPONENT_OF_CLASS, distinct))


def component_of_path(path: pl.Expr) -> pl.Expr:
    """Part of a pipeline by the first names of a module's path; null where they do not tell.

    The second name counts more: `prior.text_encoder` is a text encoder. The first may be a class.
    """
    return _of_distinct(path.str.extract(r"^/?([^./]+(?:[./][^./]+)?)", 1), _component_of_names)


def _component_of_names(names: pl.Expr) -> pl.Expr:
    """The same of the first two names of a path."""
    first, second = names.str.extract(r"^([^./]+)", 1), names.str.extract(r"[./]([^./]+)$", 1)
    by_name = (first_rule(_COMPONENT_OF_NAME, name) for name in (second, first))
    return pl.coalesce(*by_name, first_rule(_COMPONENT_OF_CLASS, first))


def first_rule(rules: Iterable[tuple[str, str]], name: pl.Expr) -> pl.Expr:
    """The value of the first rule whose pattern is found in a name; null where none is."""
    claims = [pl.when(name.str.contains(pattern)).then(pl.lit(value)) for value, pattern in rules]
    return pl.coalesce(*claims, pl.lit(None, pl.String))


def _of_distinct(values: pl.Expr, read: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """What `read` reads from values, once from each: modules are few, and each has as many ranges as calls."""

    def looked_up(column: pl.Series) -> pl.Series:
        keys = column.to_frame("value")
        table = keys.unique().drop_nulls().with_columns(read(pl.col("value")).alias("read"))
        return keys.join(table, on="value", how="left", maintain_order="left")["read"]

    return values.map_batches(looked_up, return_dtype=pl.String())


def folded(name: pl.Expr) -> pl.Expr:
    """A name without its numbers: each number or address that stands apart becomes `#`.

    Digits within a word stay: `conv2d`, `layer4`.
    """
    apart = r"(^|[^A-Za-z0-9.])(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)*)($|[^A-Za-z0-9])"
    # Twice, because two numbers may share the character between them.
    without = name.str.replace_all(apart, "${1}#${2}").str.replace_all(apart, "${1}#${2}")
    # A name of numbers alone would lose all that it says.
    return pl.when(without.str.contains(r"[A-Za-z]")).then(without).otherwise(name)
