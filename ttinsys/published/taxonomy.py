"""What models are made of (Table I of the study): architecture, parameters, levels of attention, channels, widths.

    taxonomy(["stable-diffusion", "imagen"])

Everything is read from the published configurations in `annotate.models`; nothing is built or measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from parsers.schema import Column, Table
from ttinsys.published.defaults import class_of, completed
from ttinsys.published.sheets import MODELS, Model, model

TAXONOMY = Table(
    "taxonomy",
    Column("model", pl.String, "Name of the model."),
    Column("component", pl.String, "Component of its pipeline, such as `unet`."),
    Column("parameters", pl.Int64, "Published number of parameters of the component."),
    Column("share", pl.Float64, "Share of the model's parameters.", unit="ratio"),
    Column("channels", pl.Int64, "Channels of the first level of a U-Net or autoencoder."),
    Column("multipliers", pl.String, "Channels of each level, as multiples of those of the first."),
    Column("attention_at", pl.String, "Factors by which a U-Net has shortened the sides where its levels attend."),
    Column("attention_sides", pl.String, "Sides of the feature maps there and in the middle, at the trained size."),
    Column("layers", pl.Int64, "Blocks of a transformer; of one with encoder and decoder, those of the decoder."),
    Column("width", pl.Int64, "Features of a token in a transformer."),
    Column("text_width", pl.Int64, "Features of a text token that the component attends to."),
    Column("study", pl.String, "Model of the study that it is or stands for."),
    Column("source", pl.String, "Where its configuration is published."),
    Column("class", pl.String, "Class of the component."),
    Column("architecture", pl.String, "How the model generates, and in which space."),
    doc="one row per component with parameters",
)

_MASKED = ("UVit2DModel", "MaskGitTransformer")
_AUTOREGRESSIVE = {"T5ForConditionalGeneration": "pictures", "LlamaForCausalLM": "text"}
_AUTOENCODERS = ("vae", "movq", "vqvae")


def taxonomy(names: Iterable[str] = ()) -> pl.DataFrame:
    """The components of models.

    Args:
        names: names of the models; all of them if empty.

    Returns:
        `TAXONOMY`, models and components in the order of their declaration.
    """
    rows = [row for name in (tuple(names) or MODELS) for row in _components(model(name))]
    return pl.DataFrame(rows, schema=TAXONOMY.schema, orient="row")


def _components(spec: Model) -> list[dict[str, Any]]:
    whole = sum(spec.parameters.values())
    architecture = _architecture(spec)
    return [
        {
            "model": spec.name,
            "architecture": architecture,
            "component": name,
            "parameters": count,
            "share": count / whole,
            **_shape(class_of(spec.full[name]), completed(spec.full[name])),
            "class": class_of(spec.full[name]),
            "study": spec.study,
            "source": spec.source,
        }
        for name, count in spec.parameters.items()
    ]


def _architecture(spec: Model) -> str:
    """How a model generates, by the classes of its components."""
    classes = {class_of(spec.full[name]) for name in spec.parameters}
    if any(name in classes for name in _MASKED):
        return "masked transformer"
    for name, modality in _AUTOREGRESSIVE.items():
        if name in classes:
            return f"autoregressive transformer of {modality}"
    space = "latent" if any(name in spec.full for name in _AUTOENCODERS) else "pixel"
    backbone = "U-Net" if any(name.startswith("UNet") for name in classes) else "transformer"
    return f"{space} diffusion, {backbone}"


def _shape(cls: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Channels, levels of attention, layers and widths, as far as a configuration has them."""
    layers = _first(config, "num_decoder_layers", "num_hidden_layers", "num_layers")
    heads, dim = _first(config, "num_attention_heads"), _first(config, "attention_head_dim")
    shape: dict[str, Any] = {
        # FLUX and others have blocks of two kinds: all of them count.
        "layers": layers + (_first(config, "num_single_layers") or 0) if layers else None,
        "width": _first(config, "hidden_size", "d_model"),
        "text_width": _first(config, "encoder_hidden_size", "cross_attention_dim", "text_dim"),
    }
    channels = config.get("block_out_channels")
    if isinstance(channels, tuple):
        multipliers = " ".join(f"{each / channels[0]:g}" for each in channels)
        shape |= {"channels": channels[0], "multipliers": multipliers}
    if cls.startswith("UNet") and isinstance(channels, tuple):
        factors = [2**level for level, kind in enumerate(config["down_block_types"]) if "CrossAttn" in kind]
        sides = dict.fromkeys(config["sample_size"] // each for each in [*factors, 2 ** (len(channels) - 1)])
        shape |= {"attention_at": " ".join(map(str, factors)), "attention_sides": " ".join(map(str, sides))}
    elif shape["width"] is None and heads and dim:
        shape["width"] = heads * dim
    return shape


def _first(config: Mapping[str, Any], *names: str) -> int | None:
    """The first integer among entries of a configuration."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)
