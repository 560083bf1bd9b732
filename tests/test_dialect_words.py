"""What names of modules tell, against what `annotate` tells from the modules themselves."""

from __future__ import annotations

import importlib.util

import polars as pl
import pytest

from ttinsys.attribution.dialects.words import component_of_class, component_of_path, role_of_class, role_of_path

PATHS = {
    # diffusers
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1": "spatial_attention",
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2": "cross_attention",
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0": "linear",
    "unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn2": "temporal_attention",
    "unet.down_blocks.0.attentions.0": "other",
    "unet.down_blocks.0.attentions.0.norm": "group_norm",
    "unet.down_blocks.0.resnets.1.norm1": "group_norm",
    "unet.down_blocks.0.resnets.1.conv_shortcut": "pointwise_conv",
    "unet.down_blocks.0.temp_convs.0.conv1.2": "temporal_conv",
    "unet.conv_norm_out": "group_norm",
    "unet.conv_act": "activation",
    "unet.time_embedding.linear_1": "linear",
    "transformer.transformer_blocks.3.attn": "joint_attention",
    "transformer.transformer_blocks.3.attn.norm_q": "rms_norm",
    "transformer.transformer_blocks.3.ff.net.0": "activation",
    "transformer.transformer_blocks.3.ff.net.0.proj": "linear",
    "transformer.transformer_blocks.3.ff.net.2": "linear",
    "transformer.x_embedder": "linear",
    "vae.decoder.mid_block.attentions.0": "self_attention",
    "vae.decoder.up_blocks.2.upsamplers.0.conv": "spatial_conv",
    "vae.decoder.up_blocks.2.upsamplers.0": "resample",
    # latent diffusion and its video successors
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1": "spatial_attention",
    "model.diffusion_model.input_blocks.1.0.in_layers.0": "group_norm",
    "model.diffusion_model.input_blocks.1.0.in_layers.2": "spatial_conv",
    "model.diffusion_model.input_blocks.1.0.out_layers.3": "spatial_conv",
    "model.diffusion_model.input_blocks.1.0.skip_connection": "pointwise_conv",
    "model.diffusion_model.time_embed.2": "linear",
    "first_stage_model.decoder.mid.attn_1": "self_attention",
    "blocks.2.attn1_tmp": "temporal_attention",
    # transformers, timm, vLLM
    "encoder.block.3.layer.0.SelfAttention": "self_attention",
    "decoder.block.3.layer.1.EncDecAttention": "cross_attention",
    "encoder.block.3.layer.0.layer_norm": "rms_norm",
    "encoder.block.3.layer.1.DenseReluDense.wi_0": "linear",
    "text_model.encoder.layers.3.layer_norm1": "layer_norm",
    "text_model.encoder.layers.3.mlp.fc1": "linear",
    "model.layers.7.self_attn": "self_attention",
    "model.layers.7.self_attn.attn": "self_attention",
    "model.layers.7.self_attn.rotary_emb": "rope",
    "model.layers.7.self_attn.qkv_proj": "linear",
    "model.layers.7.post_attention_layernorm": "rms_norm",
    "model.layers.7.mlp.gate_up_proj": "linear",
    "model.layers.7.mlp.act_fn": "activation",
    "model.layers.7.mlp": "other",
    "model.layers.7": "other",
    "model.embed_tokens": "embedding",
    "lm_head": "linear",
    "vit.blocks.3.attn.qkv": "linear",
    "timesformer.encoder.layer.0.temporal_attention.attention": "temporal_attention",
    # wrapped by torch.compile and FSDP
    "blocks.9._checkpoint_wrapped_module.self_attn": "self_attention",
    "unet._orig_mod.conv_in": "spatial_conv",
}

CLASSES = {
    "Attention": "self_attention",
    "FluxAttention": "self_attention",
    "WanAttention": "self_attention",
    "DistributedAttention": "self_attention",
    "CLIPSdpaAttention": "self_attention",
    "WanAttentionBlock": "self_attention",
    "AttnBlock": "self_attention",
    "MultiheadAttention": "self_attention",
    "TimesformerSelfAttention": "self_attention",
    "CrossAttention": "self_attention",  # latent diffusion calls all of its attention so
    "MemoryEfficientCrossAttention": "self_attention",
    "WanT2VCrossAttention": "cross_attention",
    "TemporalAttention": "temporal_attention",
    "JointAttention": "joint_attention",
    "BasicTransformerBlock": "other",
    "CrossAttnDownBlock2D": "other",
    "UNetMidBlock2DCrossAttn": "other",
    "T5LayerSelfAttention": "other",
    "AttnUpDecoderBlock2D": "other",
    "LlamaDecoderLayer": "other",
    "Qwen2MLP": "other",
    "FusedMoE": "other",
    "CLIPEncoder": "other",
    "FluxAttnProcessor2_0": None,
    "TimesformerSelfOutput": None,
    "Sequential": None,
    "Linear": "linear",
    "NonDynamicallyQuantizableLinear": "linear",
    "MergedColumnParallelLinear": "linear",
    "QKVParallelLinear": "linear",
    "Linear8bitLt": "linear",
    "Conv1D": "linear",  # of GPT-2: a matrix multiplication
    "ParallelLMHead": "linear",
    "Conv2d": "spatial_conv",
    "WanCausalConv3d": "spatiotemporal_conv",
    "ConvTranspose2d": "spatial_conv",
    "GroupNorm": "group_norm",
    "LayerNorm": "layer_norm",
    "T5LayerNorm": "rms_norm",
    "Qwen2RMSNorm": "rms_norm",
    "BatchNorm2d": "batch_norm",
    "LlamaRotaryEmbedding": "rope",
    "VocabParallelEmbedding": "embedding",
    "Timesteps": "embedding",
    "SiluAndMul": "activation",
    "GELUActivation": "activation",
    "GEGLU": "activation",
    "Upsample2D": "resample",
    "AvgPool2d": "resample",
}


def told(expression: pl.Expr, names: list[str]) -> list[str | None]:
    return pl.DataFrame({"name": names}).select(expression.alias("told"))["told"].to_list()


@pytest.mark.parametrize(("path", "role"), PATHS.items())
def test_role_of_a_path(path: str, role: str) -> None:
    assert told(role_of_path(pl.col("name")), [path]) == [role]


@pytest.mark.parametrize(("name", "role"), CLASSES.items())
def test_role_of_a_class(name: str, role: str | None) -> None:
    assert told(role_of_class(pl.col("name")), [name]) == [role]


@pytest.mark.parametrize(
    ("path", "component"),
    [
        ("unet.mid_block", "denoiser"),
        ("base.unet.mid_block", "denoiser"),
        ("prior.text_encoder.encoder", "text_encoder"),
        ("decoder.movq.encoder", "vae"),
        ("model.diffusion_model.middle_block", "denoiser"),
        ("first_stage_model.decoder", "vae"),
        ("text_encoder_2.text_model", "text_encoder"),
        ("LlamaForCausalLM.model.layers.3", "decoder"),
        ("model.layers.3", None),
        ("encoder.block.3", None),
        ("scheduler.step", None),
    ],
)
def test_component_of_a_path(path: str, component: str | None) -> None:
    assert told(component_of_path(pl.col("name")), [path]) == [component]


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("UNet2DConditionModel", "denoiser"),
        ("UNetMidBlock2D", None),
        ("SD3Transformer2DModel", "denoiser"),
        ("BasicTransformerBlock", None),
        ("AutoencoderKLWan", "vae"),
        ("CLIPTextModelWithProjection", "text_encoder"),
        ("CLIPVisionModelWithProjection", "image_encoder"),
        ("T5EncoderModel", "text_encoder"),
        ("Qwen2Model", "decoder"),
        ("Linear", None),
    ],
)
def test_component_of_a_class(name: str, component: str | None) -> None:
    assert told(component_of_class(pl.col("name")), [name]) == [component]


def family(role: pl.Expr) -> pl.Expr:
    ends = [pl.when(role.str.ends_with(end)).then(pl.lit(end)) for end in ("attention", "conv")]
    return pl.coalesce(*ends, role)


@pytest.mark.slow(12)
@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="needs diffusers")
@pytest.mark.parametrize(
    ("name", "by_path"),
    # Wan's autoencoder has RMS norms under names that stand for group norms elsewhere.
    [("stable-diffusion", 0.85), ("flux", 0.85), ("wan-1.3b", 0.7), ("llama2-7b", 0.85), ("latte", 0.85)],
)
def test_names_agree_with_the_modules(name: str, by_path: float) -> None:
    """Of the modules that have a role, names tell the family of at least so many rightly, and of few wrongly."""
    from annotate.tree import sites
    from tests.tiny import built

    labels = [site.label for site in sites(built(name))]
    modules = pl.DataFrame({"path": [label.name for label in labels], "class": [label.cls for label in labels]})
    read = modules.select(
        "path",
        role=family(pl.lit(pl.Series([label.role for label in labels]))),
        by_path=family(role_of_path(pl.col("path"))),
        by_class=family(role_of_class(pl.col("class"))),
    ).filter(pl.col("role") != "other")
    for told_by, least in (("by_path", by_path), ("by_class", 0.98)):
        right = read.filter(pl.col(told_by) == pl.col("role")).height / read.height
        assert right >= least, (told_by, right, read.filter(pl.col(told_by).ne_missing(pl.col("role"))))
