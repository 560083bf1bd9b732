"""What models are made of (Table I of the study): kind, parameters, levels of attention, channels, widths.

    taxonomy(["stable-diffusion", "imagen"])

Read from the published configurations in `annotate.models`; nothing is built or measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from parsers.schema import Column, Table
from ttinsys.published.sheets import MODELS, Model, model

TAXONOMY = Table(
    "taxonomy",
    Column("model", pl.String, "name of the model"),
    Column("component", pl.String, "part of its pipeline"),
    Column("parameters", pl.Int64, "published number of parameters of the component"),
    Column("share", pl.Float64, "of the model's parameters", unit="ratio"),
    Column("channels", pl.Int64, "channels of the first level of a U-Net or autoencoder"),
    Column("multipliers", pl.String, "channels of each level, in units of the first"),
    Column("attention_at", pl.String, "by how much a U-Net has shrunk its input where its levels have attention"),
    Column("attention_sides", pl.String, "side of its input there and in the middle, at the size it was trained for"),
    Column("layers", pl.Int64, "blocks of a transformer; the decoder's where it has one apart"),
    Column("width", pl.Int64, "features of a transformer's tokens"),
    Column("text_width", pl.Int64, "features of the text that it attends to"),
    Column("study", pl.String, "model of the study that it is or stands for"),
    Column("source", pl.String, "where its configuration is published"),
    Column("class", pl.String, "class of the component"),
    Column("architecture", pl.String, "how the model generates, and in which space"),
    doc="one row per component with parameters",
)  # fmt: skip

_DEFAULTS: dict[str, dict[str, Any]] = {
    "UNet2DConditionModel": {
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 1280,
    },
    "UNet3DConditionModel": {
        "down_block_types": ("CrossAttnDownBlock3D",) * 3 + ("DownBlock3D",),
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 1024,
    },
    "UNetSpatioTemporalConditionModel": {
        "down_block_types": ("CrossAttnDownBlockSpatioTemporal",) * 3 + ("DownBlockSpatioTemporal",),
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 1024,
    },
    "UNetMotionModel": {
        "down_block_types": ("CrossAttnDownBlockMotion",) * 3 + ("DownBlockMotion",),
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 1280,
    },
    "UVit2DModel": {"hidden_size": 1024, "num_hidden_layers": 22, "encoder_hidden_size": 768},
    "MaskGitTransformer": {"hidden_size": 2048, "num_layers": 24, "text_dim": 4096},
}
"""Defaults of the classes of diffusers and `annotate.models`, for what configurations leave out."""

_MASKED = ("UVit2DModel", "MaskGitTransformer")
_AUTOREGRESSIVE = {"T5ForConditionalGeneration": "pictures", "LlamaForCausalLM": "text"}
_LATENT = ("vae", "movq", "vqvae")


def taxonomy(names: Iterable[str] = ()) -> pl.DataFrame:
    """The components of models.

    Args:
        names: of the models; empty: all.

    Returns:
        `TAXONOMY`, models and components in the order of their declaration.
    """
    rows = [row for name in (tuple(names) or MODELS) for row in _components(model(name))]
    return pl.DataFrame(rows, schema=TAXONOMY.schema, orient="row")


def _components(of: Model) -> list[dict[str, Any]]:
    whole = sum(of.parameters.values())
    architecture = _architecture(of)
    return [
        {
            "model": of.name,
            "architecture": architecture,
            "component": name,
            "parameters": count,
            "share": count / whole,
            **_shape(_configured(of, name)),
            "class": _class(of, name),
            "study": of.study,
            "source": of.source,
        }
        for name, count in of.parameters.items()
    ]


def _class(of: Model, component: str) -> str:
    return of.full[component].cls.rpartition(".")[2]


def _configured(of: Model, component: str) -> dict[str, Any]:
    """The configuration of a component, with its class's defaults; `kind` is U-Net or not."""
    cls = _class(of, component)
    return {"kind": cls, **_DEFAULTS.get(cls, {}), **of.full[component].config}


def _architecture(of: Model) -> str:
    """How a model generates: what its classes are for says it."""
    classes = {_class(of, name) for name in of.parameters}
    masked = next((name for name in classes if name in _MASKED), None)
    if masked:
        return "masked transformer"
    for name, what in _AUTOREGRESSIVE.items():
        if name in classes:
            return f"autoregressive transformer of {what}"
    space = "latent" if any(name in of.full for name in _LATENT) else "pixel"
    backbone = "U-Net" if any(name.startswith("UNet") for name in classes) else "transformer"
    return f"{space} diffusion, {backbone}"


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """Channels, levels of attention, layers and widths, as far as a configuration has them."""
    layers = _first(config, "num_decoder_layers", "num_hidden_layers", "num_layers")
    heads, dim = _first(config, "num_attention_heads"), _first(config, "attention_head_dim")
    shape: dict[str, Any] = {
        # Of models whose blocks are of two kinds, as Flux, all count.
        "layers": layers + (_first(config, "num_single_layers") or 0) if layers else None,
        "width": _first(config, "hidden_size", "d_model"),
        "text_width": _first(config, "encoder_hidden_size", "cross_attention_dim", "text_dim"),
    }
    channels = config.get("block_out_channels")
    if isinstance(channels, tuple):
        multipliers = " ".join(f"{each / channels[0]:g}" for each in channels)
        shape |= {"channels": channels[0], "multipliers": multipliers}
    if config["kind"].startswith("UNet") and isinstance(channels, tuple):
        factors = [2**level for level, kind in enumerate(config["down_block_types"]) if "CrossAttn" in kind]
        sides = dict.fromkeys(config["sample_size"] // each for each in [*factors, 2 ** (len(channels) - 1)])
        shape |= {"attention_at": " ".join(map(str, factors)), "attention_sides": " ".join(map(str, sides))}
    elif shape["width"] is None and heads and dim:
        shape["width"] = heads * dim
    return shape


def _first(config: Mapping[str, Any], *names: str) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)
