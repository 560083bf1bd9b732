"""What models are made of: against the study's table, the classes' own defaults, and the published counts."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner

from ttinsys.cli import main
from ttinsys.figures import draw_figure, specification
from ttinsys.figures.style import NothingToDraw
from ttinsys.published.sheets import MODELS, model
from ttinsys.published.taxonomy import TAXONOMY, taxonomy


def of(name: str, component: str) -> dict[str, object]:
    return taxonomy([name]).filter(pl.col("component") == component).row(0, named=True)


def test_levels_of_a_latent_u_net_are_those_of_its_configuration() -> None:
    row = of("stable-diffusion", "unet")
    # 64 by 64 latents; attention at three of four levels and in the middle: PAPER has lengths 4096, 1024, 256, 64.
    expected = {"architecture": "latent diffusion, U-Net", "channels": 320, "multipliers": "1 2 4 4",
                "attention_at": "1 2 4", "attention_sides": "64 32 16 8", "text_width": 768, "parameters": 859_520_964,
                "class": "UNet2DConditionModel", "study": "Stable Diffusion"}  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_pixel_models_have_no_autoencoder() -> None:
    row = of("imagen", "unet")
    expected = {"architecture": "pixel diffusion, U-Net", "multipliers": "1 2 3 4", "attention_at": "2 4 8",
                "attention_sides": "32 16 8"}  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert set(taxonomy(["imagen"])["component"]) == {"unet", "super_resolution_unet", "text_encoder"}


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("muse", "masked transformer"),
        ("phenaki", "masked transformer"),
        ("parti", "autoregressive transformer of pictures"),
        ("llama2-7b", "autoregressive transformer of text"),
        ("make-a-video", "latent diffusion, U-Net"),
        ("kandinsky-2.2", "latent diffusion, U-Net"),
        ("flux", "latent diffusion, transformer"),
        ("wan-1.3b", "latent diffusion, transformer"),
    ],
)
def test_architecture_is_what_the_classes_are_for(name: str, architecture: str) -> None:
    assert set(taxonomy([name])["architecture"]) == {architecture}


def test_transformers_have_layers_and_a_width() -> None:
    assert (of("llama2-7b", "model")["layers"], of("llama2-7b", "model")["width"]) == (32, 4096)
    assert (of("parti", "transformer")["layers"], of("parti", "transformer")["width"]) == (64, 4096)
    # 19 blocks of two streams and 38 of one; 24 heads of 128.
    assert (of("flux", "transformer")["layers"], of("flux", "transformer")["width"]) == (57, 3072)


def test_parameters_are_the_published_ones_of_every_component_of_every_model() -> None:
    frame = taxonomy()
    assert frame.schema == TAXONOMY.schema
    assert frame["model"].unique(maintain_order=True).to_list() == list(MODELS)
    for (name,), rows in frame.group_by("model"):
        assert dict(rows.select("component", "parameters").iter_rows()) == dict(model(str(name)).parameters)
        assert rows["share"].sum() == pytest.approx(1)


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["taxonomy", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_command_writes_what_the_library_returns() -> None:
    code, out, err = run("muse", "imagen", "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out) == taxonomy(["muse", "imagen"]).to_dicts()


def test_unknown_model_is_a_usage_error_that_lists_them() -> None:
    code, out, err = run("mouse")
    assert (code, out) == (2, "")
    assert "no model mouse: did you mean muse? There are stable-diffusion, imagen, muse" in " ".join(err.split())


def test_misspelt_model_gets_the_nearest_name_and_the_list_in_one_line() -> None:
    code, out, err = run("muse", "stable-difusion", "xyzzy")
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: no model stable-difusion: did you mean stable-diffusion? There are ")
    assert line.endswith(", wan-14b")
    assert "no model xyzzy: there are stable-diffusion" in run("xyzzy")[2]


def test_figure_has_a_bar_per_model_divided_by_component() -> None:
    frame = taxonomy(["muse", "imagen"])
    (data,) = specification(draw_figure("taxonomy", frame))["datasets"].values()
    assert {(each["component"], each["purpose"]) for each in data if each["model"] == "muse"} == {
        ("transformer", "generator"), ("vqvae", "autoencoder"), ("text_encoder", "text or image encoder"),
    }  # fmt: skip
    with pytest.raises(NothingToDraw):
        draw_figure("taxonomy", frame.head(0))
