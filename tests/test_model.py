"""`ttinsys model`: the analytical model as a command, alone and beside traces worked out by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.labelled import Labelled
from ttinsys.cli import main
from ttinsys.figures import draw_figure, specification
from ttinsys.figures.style import NothingToDraw
from ttinsys.measures.analytical import MODEL_COSTS, TooLarge, model_costs
from ttinsys.measures.analytical_notes import cost_notes
from ttinsys.measures.analytical_trace import root_calls, with_trace
from ttinsys.published.layers.records import Layers
from ttinsys.tables.registry import tables_of

SAMPLES = Path(__file__).resolve().parents[1] / "sample_traces"
SAMPLE = SAMPLES / "simulated-stable-diffusion-h200_pqtdir"
SD = "stable-diffusion"


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["model", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def table(*arguments: str | Path) -> pl.DataFrame:
    code, out, err = run(*arguments, "--format", "json")
    assert code == 0, err
    return pl.read_json(io.StringIO(out), schema=MODEL_COSTS.schema)


def error(*arguments: str | Path) -> str:
    """The one line of a usage error."""
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: ")


# Records by hand


def two_layers() -> Layers:
    """Two self-attentions of 6 positions with 3 channels in 2 sequences, a linear layer, a convolution."""
    layers = Layers()
    layers.attend("spatial_attention", 6, 6, channels=3, heads=3, level=0, sequences=2, calls=2)
    layers.linear(5, 7, 11)
    layers.convolve(4, 2, 3, 3, 1, 1)
    return layers


def test_costs_by_hand() -> None:
    frame = model_costs({"unet": two_layers()}, batch=4, itemsize=2)
    assert frame.schema == MODEL_COSTS.schema
    # 2 calls of 4 * (4 * 2) * 6 * 6 * 3; 2 * (4 * 5) * 7 * 11; 2 * (4 * 4) * 2 * 3 * 3.
    assert frame.select("role", "calls", "flops").rows() == [
        ("spatial_attention", 2, 6912),
        ("linear", 1, 3080),
        ("temporal_conv", 1, 576),
    ]
    # 2 bytes, 2 calls, 36 scores; 3 heads, 2 sequences and a batch of 4 more.
    assert frame["score_bytes"].to_list() == [144, None, None]
    assert frame["all_score_bytes"].to_list() == [144 * 3 * 2 * 4, None, None]
    assert frame["share"].to_list() == [flops / 10568 for flops in (6912, 3080, 576)]
    assert frame.select("measured_calls", "gpu_ns", "note").null_count().row(0) == (3, 3, 3)


def test_rows_of_each_component_have_shares_of_their_own() -> None:
    frame = model_costs({"a": two_layers(), "b": two_layers()})
    assert frame["component"].to_list() == ["a"] * 3 + ["b"] * 3
    assert frame.group_by("component").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1, 1])


def test_samples_attended_to_one_by_one_are_calls_of_their_own() -> None:
    layers = Layers()
    layers.attend("joint_attention", 8, 8, channels=4, heads=2, calls=3, apart=True)
    layers.attend("joint_attention", 9, 9, channels=4, heads=2, calls=3)
    assert model_costs({"t": layers}, batch=2)["calls"].to_list() == [3, 6]


def test_number_that_64_bits_do_not_hold_is_refused() -> None:
    layers = Layers()
    layers.linear(1 << 40, 1 << 20, 1 << 10)
    with pytest.raises(TooLarge):
        model_costs({"t": layers})
    assert "more operations or bytes than 64 bits count" in error(SD, "--height", "800000", "--width", "800000")


# Beside a trace by hand


def traced(run: dict[str, object] | None = None, *, forwards: int = 2, length: int = 6) -> Labelled:
    """Forwards of a U-Net with two cores of 10 ns, and a linear layer of 3 ns and one of 4."""
    t = Labelled(run)
    t.module("pipe.unet", "other", "UNet2DConditionModel")
    for number in (0, 1):
        t.module(f"pipe.unet.attn{number}.core", "spatial_attention", attention="spatial_attention")
        t.module(f"pipe.unet.linear{number}", "linear")
    t.module("pipe.unet.norm", "group_norm")
    for forward in range(forwards):
        start = 1000 * forward
        t.call("pipe.unet", start, start + 900)
        for number in (0, 1):
            at = start + 100 * number
            gpu = [("flash_fwd", at + 50, at + 60)]
            t.call(f"pipe.unet.attn{number}.core", at + 10, at + 20, gpu=gpu,
                   q_len=length, kv_len=length, heads=3, flops=4 * 2 * length * length * 3)  # fmt: skip
            linear = [("sgemm", at + 70, at + 73 + number)]
            t.call(f"pipe.unet.linear{number}", at + 30, at + 40, gpu=linear, flops=770)
        t.call("pipe.unet.norm", start + 300, start + 310, gpu=[("norm", start + 400, start + 401)], flops=5)
    return t


def beside(tmp_path: Path, t: Labelled, layers: Layers | None = None) -> pl.DataFrame:
    calls = tables_of(t.load(tmp_path))["calls"].collect()
    roots = root_calls(calls, {"unet": "UNet2DConditionModel"})
    assert roots["unet"].module == "pipe.unet"
    return with_trace(model_costs({"unet": layers or two_layers()}), calls, roots)


MEASURED = ("role", "calls", "measured_calls", "measured_flops", "gpu_ns", "note")


def test_measured_columns_are_of_one_forward(tmp_path: Path) -> None:
    # 2 cores of 4 * 2 * 36 * 3 FLOPs and 10 ns, 2 linear layers of 770 FLOPs and 3 and 4 ns, in each of 2 forwards.
    assert beside(tmp_path, traced()).select(MEASURED).rows() == [
        ("spatial_attention", 2, 2.0, 1728.0, 20.0, None),
        ("linear", 1, 2.0, 1540.0, 7.0, "calls and FLOPs differ"),
        ("temporal_conv", 1, None, None, None, "not in the trace"),
    ]


def test_lengths_that_only_one_of_them_has_are_rows_of_their_own(tmp_path: Path) -> None:
    frame = beside(tmp_path, traced(length=7))
    assert frame.select("role", "q_len", "calls", "measured_calls", "note").rows() == [
        ("spatial_attention", 6, 2, None, "not in the trace"),
        ("linear", None, 1, 2.0, "calls and FLOPs differ"),
        ("temporal_conv", None, 1, None, "not in the trace"),
        ("spatial_attention", 7, None, 2.0, "only in the trace"),
    ]


def test_kinds_with_the_same_lengths_are_told_apart_by_their_operations(tmp_path: Path) -> None:
    t = Labelled()
    t.module("unet", "other", "UNet2DConditionModel")
    t.call("unet", 0, 900)
    # 16 frames at two levels: 4 * 16 * 16 * 3 channels, at 9 and at 4 positions.
    for number, places in enumerate((4, 9, 9)):
        t.module(f"unet.{number}.core", "temporal_attention", attention="temporal_attention")
        t.call(f"unet.{number}.core", 10 + 50 * number, 20 + 50 * number, gpu=[("flash_fwd", 0, places)],
               q_len=16, kv_len=16, heads=1, flops=4 * 16 * 16 * 3 * places)  # fmt: skip
    layers = Layers()
    layers.attend("temporal_attention", 16, 16, channels=3, heads=1, level=1, sequences=4)
    layers.attend("temporal_attention", 16, 16, channels=3, heads=1, level=0, sequences=9, calls=2)
    frame = with_trace(
        model_costs({"unet": layers}),
        (calls := tables_of(t.load(tmp_path))["calls"].collect()),
        root_calls(calls, {"unet": "UNet2DConditionModel"}),
    )
    assert frame.select("level", "calls", "measured_calls", "gpu_ns", "note").rows() == [
        (0, 2, 2.0, 18.0, None),
        (1, 1, 1.0, 4.0, None),
    ]


def test_components_of_one_class_are_told_apart_by_their_order(tmp_path: Path) -> None:
    t = Labelled()
    for number, stage in enumerate(("base.unet", "fine.unet")):
        t.module(stage, "other", "UNet2DConditionModel")
        for forward in range(number + 1):
            t.call(stage, 1000 * number + 100 * forward, 1000 * number + 100 * forward + 50)
    roots = root_calls(
        tables_of(t.load(tmp_path))["calls"].collect(), dict.fromkeys(("a", "b", "c"), "UNet2DConditionModel")
    )
    assert {name: tuple(root) for name, root in roots.items()} == {"a": ("base.unet", 1), "b": ("fine.unet", 2)}


def test_replays_of_a_cuda_graph_are_forwards(tmp_path: Path) -> None:
    # One forward opened ranges while its graph was captured, and none in the five replays.
    calls = tables_of(traced(forwards=1).load(tmp_path))["calls"].collect()
    replayed = calls.with_columns(
        pl.when(pl.col("ops") > 0).then(5).otherwise("executions").alias("executions"), pl.col("gpu_ns") * 5
    )
    roots = root_calls(replayed, {"unet": "UNet2DConditionModel"})
    assert roots["unet"].forwards == 5
    frame = with_trace(model_costs({"unet": two_layers()}), replayed, roots)
    assert frame.select(MEASURED).row(0) == ("spatial_attention", 2, 2.0, 1728.0, 20.0, None)


# The command


def test_command_writes_rows_that_add_up_and_says_of_what(tmp_path: Path) -> None:
    code, out, err = run(SD, "--height", "256", "--width", "256", "--no-guidance")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        ["unet", role] for role in (*["spatial_attention"] * 4, *["cross_attention"] * 4, "linear", "spatial_conv",
                                    "pointwise_conv")
    ]  # fmt: skip
    first = err.splitlines()
    assert first[0] == "Costs of one forward: Stable Diffusion 1.5, 256x256 pixels, batch 1, not doubled for guidance."
    assert first[1].startswith("Formulas of arXiv 2312.14385, analytical model: attention core 4 B Nq Nk C, ")
    assert (
        first[2] == "unet: 0.180 TFLOP in one forward: attention cores 0.009, linear layers 0.061, convolutions 0.111."
    )
    # 2 * (2*1024*1101 + 2*256*333 + 2*64*141) + 2*16*93 bytes.
    assert "12.2 MB for one head of one sequence" in first[3]
    assert "the plain form M, of two calls a level and one in the middle, is 4.9 MB." in first[3]
    assert first[4] == "unet: sequence lengths 1024, 256, 64, 16, 64, 256, 1024; adjacent levels differ up to 4 times."
    assert first[5].startswith("Left out: text encoders, autoencoders, norms")
    file = tmp_path / "costs.parquet"
    assert run(SD, "--height", "256", "--width", "256", "--no-guidance", "-o", file)[0] == 0
    assert int(pl.read_parquet(file)["flops"].sum()) / 1e12 == pytest.approx(0.180, abs=0.0005)


@pytest.mark.parametrize("name", ["model", "cache", "taxonomy"])
def test_help_ends_with_the_columns(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    options, columns = done.stdout.index("Options:"), done.stdout.index("Columns, one row per")
    assert options < columns
    assert {"model": "flops [FLOP]", "cache": "l1_hit_ratio [ratio]", "taxonomy": "multipliers"}[name] in done.stdout


def test_guidance_is_as_the_model_has_it_unless_said_otherwise() -> None:
    by_default, once, twice = (table(SD, *more)["flops"].sum() for more in ((), ("--no-guidance",), ("--guidance",)))
    assert by_default == twice == 2 * once
    assert table("flux")["flops"].sum() == table("flux", "--no-guidance")["flops"].sum()
    assert "guidance an input of the model" in run("flux")[2]
    assert "a second forward of the same size for guidance" in run("wan-1.3b")[2]


def test_notes_of_a_clip_compare_spatial_with_temporal_attention() -> None:
    _, _, err = run("make-a-video", "--frames", "16")
    assert "spatial attention has 17.5 times the core FLOPs of temporal attention" in err
    # 32 x 32 latents against 16 frames.
    assert "differs N / F = 64 times, and they are equal at 1,024 frames." in err
    assert "the pooling of the text by attention in add_embedding of unet" in run("imagen")[2]


def test_options_multiply() -> None:
    plain, wide = table(SD, "--no-guidance"), table(SD, "--no-guidance", "--batch", "3", "--itemsize", "4")
    assert wide["flops"].sum() == 3 * plain["flops"].sum()
    assert wide["score_bytes"].sum() == 2 * plain["score_bytes"].sum()
    assert wide["all_score_bytes"].sum() == 6 * plain["all_score_bytes"].sum()
    assert table(SD, "--text-tokens", "5").filter(pl.col("role") == "cross_attention")["kv_len"].max() == 5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["stable-difusion"], "no model stable-difusion: did you mean stable-diffusion? There are stable-diffusion, "),
        ([SD, "--height", "500"], "--height 500: stable-diffusion makes multiples of 8: the nearest is 496"),
        ([SD, "--frames", "5"], "stable-diffusion has no --frames: it takes --height, --width, --batch, --text-tokens"),
        (["llama2-7b", "--height", "64"], "llama2-7b has no --height: it takes --batch, --text-tokens"),
        (["svd", "--text-tokens", "5"], "svd attends to no text: leave out --text-tokens"),
        (["mochi"], "mochi: attention spans only those text tokens that are not padding: give --text-tokens"),
        (["parti"], "parti: attention does not follow from the configuration of T5ForConditionalGeneration, VQModel; "),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_one_line(arguments: list[str], line: str) -> None:
    assert error(*arguments).startswith(line)


@pytest.mark.slow(1)
def test_trace_of_the_sample_agrees_row_by_row() -> None:
    frame = table(SD, "--trace", SAMPLE)
    assert frame["note"].to_list() == [None] * 11
    assert frame["measured_calls"].to_list() == frame["calls"].to_list()
    assert frame["gpu_ns"].min() > 0  # type: ignore[operator]
    assert run(SD, "--trace", SAMPLE)[2].splitlines()[-1] == f"{SAMPLE}: 3 forwards of unet; all rows agree."


@pytest.mark.slow(1)
def test_sizes_of_the_run_are_those_of_the_model_and_others_differ(tmp_path: Path) -> None:
    told: dict[str, object] = {"model": SD, "size": "tiny", "request": {"height": 64, "width": 64, "batch": 1}}
    path = traced(told, length=64).write(tmp_path / "run.sqlite")
    frame = table(SD, "--trace", path)
    # 64 pixels are 8 x 8 latents; the tiny model has 2 heads and no 3.
    assert frame.filter(pl.col("role") == "spatial_attention")["q_len"].to_list() == [64, 16, 4, 1, 64]
    assert frame["note"].to_list()[-1] == "only in the trace"
    assert "rows differ, as their notes say." in run(SD, "--trace", path)[2]
    assert table(SD, "--trace", path, "--height", "128")["q_len"].max() == 128


def test_trace_of_another_model_is_named(tmp_path: Path) -> None:
    path = traced({"model": "muse", "size": "full", "request": {}}).write(tmp_path / "run.sqlite")
    assert (
        error(SD, "--trace", path) == f"{path} ran muse, not stable-diffusion: give ttinsys model muse --trace {path}"
    )


def test_marks_of_a_stranger_do_no_harm(tmp_path: Path) -> None:
    told: dict[str, object] = {"model": SD, "size": "huge", "request": {"height": 13, "frames": 9}}
    path = traced(told).write(tmp_path / "run.sqlite")
    assert table(SD, "--trace", path)["q_len"].max() == 4096
    path = traced({"model": SD, "size": "full", "request": {"frames": 9}}).write(tmp_path / "clip.sqlite")
    assert error(SD, "--trace", path).startswith("stable-diffusion has no --frames")


def test_trace_without_what_is_compared_says_what_to_do(tmp_path: Path) -> None:
    code, out, err = run(SD, "--trace", SAMPLES / "synthetic-stable-diffusion.sqlite")
    assert (code == 0, out) == (False, "")
    assert "has no attention call whose lengths are known: capture it with" in err
    path = traced().write(tmp_path / "run.sqlite")
    code, out, err = run("flux", "--trace", path)
    assert (code == 0, out) == (False, "")
    assert f"{path} has no call of FluxTransformer2DModel: name the model that it ran" in err


def test_figure_has_a_bar_per_row_and_gpu_time_where_there_is_a_trace(tmp_path: Path) -> None:
    costs = model_costs({"unet": two_layers()})
    (data,) = specification(draw_figure("model", costs))["datasets"].values()
    assert [each["layers"] for each in data] == ["spatial_attention 6 x 6, level 0, 3 heads", "linear", "temporal_conv"]
    panels = [
        len(specification(draw_figure("model", frame))["hconcat"]) for frame in (costs, beside(tmp_path, traced()))
    ]
    assert panels == [1, 2]
    with pytest.raises(NothingToDraw):
        draw_figure("model", costs.head(0))
    code, _, _ = run(SD, "--plot", tmp_path / "costs.svg", "-o", tmp_path / "costs.md")
    assert code == 0
    assert (tmp_path / "costs.svg").read_text().startswith("<svg")
    assert "spatial_attention" in (tmp_path / "costs.md").read_text()


def test_notes_of_layers_without_levels_say_no_course() -> None:
    layers = Layers()
    layers.attend("joint_attention", 8, 8, channels=4, heads=2)
    notes = list(cost_notes(model_costs({"t": layers}), {"t": layers}))
    assert not any("sequence lengths" in sentence or "plain form" in sentence for sentence in notes)
    assert json.loads(json.dumps(notes)) == notes
