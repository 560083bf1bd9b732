"""Compute the attention costs of a model by formula: lengths, FLOPs and score matrices.

ttinsys model stable-diffusion --height 512 --width 512
ttinsys model make-a-video --frames 32 --no-guidance -o costs.csv
ttinsys model stable-diffusion --trace run.sqlite --plot costs.svg

NAME is a name that `ttinsys taxonomy` lists. Layers follow
from the published configuration: neither torch nor a GPU is needed. Rows are
of one forward of each denoiser, or of the prefill of a language model. With
--trace, sizes that are not given are those that the trace ran.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.commands.analyses import AnalysisCommand
from ttinsys.commands.input_options import input_options
from ttinsys.commands.options import note, one_trace, output_options, plot_option, save_plot
from ttinsys.measures.analytical import MODEL_COSTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from ttinsys.published.layers import Layers
    from ttinsys.published.sheets import Model, Request, Size
    from ttinsys.render import Destination

_COUNT = click.IntRange(min=1)
_CONFIGURATIONS = ("full", "tiny")


@click.command(cls=AnalysisCommand)
@click.argument("name", metavar="NAME")
@click.option("--height", type=_COUNT, help="Set the height of the image in pixels; the default is the model's.")
@click.option("--width", type=_COUNT, help="Set the width of the image in pixels; the default is the model's.")
@click.option("--frames", type=_COUNT, help="Set the number of frames of the clip; the default is the model's.")
@click.option("--batch", type=_COUNT, help="Set the number of images or clips at once; the default is 1.")
@click.option(
    "--guidance/--no-guidance",
    default=None,
    help="Double the batch for guidance, or do not; the default is the model's.",
)
@click.option(
    "--text-tokens",
    type=click.IntRange(min=0),
    help="Set the number of text tokens; the default is what the model pads to.",
)
@click.option("--itemsize", type=_COUNT, default=2, show_default=True, help="Set the bytes of an attention score.")
@click.option(
    "--size", type=click.Choice(_CONFIGURATIONS), help="Use the published configuration, or the tiny one of tests."
)
@click.option("--trace", metavar="TRACE", type=click.Path(path_type=Path), help="Compare with this trace of the model.")
@input_options
@output_options
@plot_option
def command(
    name: str,
    *,
    guidance: bool | None,
    text_tokens: int | None,
    itemsize: int,
    size: Size | None,
    trace: Path | None,
    nsys: str | None,
    destination: Destination,
    plot: Destination | None,
    **sizes: int | None,
) -> None:
    """Run `ttinsys model`."""
    from ttinsys.measures.analytical_notes import cost_notes
    from ttinsys.published.layers import guidance_of
    from ttinsys.published.sheets import model, unknown_model
    from ttinsys.render import emit

    if (error := unknown_model([name])) is not None:
        raise click.UsageError(error)
    spec = model(name)
    tables = None if trace is None else _tables(trace, nsys)
    ran = {} if tables is None else _sizes_of_run(tables, name, str(trace))
    chosen: Size = size or ran.pop("size", "full")
    request = _requested(spec, chosen, ran | {axis: value for axis, value in sizes.items() if value is not None})
    doubled = guidance if guidance is not None else guidance_of(spec, chosen) == "batch"
    layers, costs = _costs(spec, chosen, request, text_tokens, doubled=doubled, itemsize=itemsize)
    sentences = [_conditions(spec, chosen, request, doubled=doubled), *cost_notes(costs, layers, itemsize)]
    if tables is not None:
        costs, sentence = _compared(costs, tables, spec, chosen, str(trace))
        sentences.append(sentence)
    save_plot(plot, "model", costs)
    emit(costs, destination, table=MODEL_COSTS)
    for sentence in sentences:
        note(sentence)


command.table = MODEL_COSTS


def _tables(trace: Path, nsys: str | None) -> Mapping[str, pl.LazyFrame]:
    from ttinsys.tables.registry import tables_of

    return tables_of(one_trace(trace, nsys))


def _sizes_of_run(tables: Mapping[str, pl.LazyFrame], name: str, trace: str) -> dict[str, Any]:
    """The configuration and the sizes that a trace ran; empty where it does not tell them, or tells several."""
    names = ("size", "height", "width", "frames", "batch", "prompt_tokens")
    runs = tables["runs"].select("model", *names).unique(maintain_order=True).collect()
    others = runs.filter(runs["model"] != name)["model"].to_list()
    if others:
        raise click.UsageError(f"{trace} ran {others[0]}, not {name}: give ttinsys model {others[0]} --trace {trace}")
    # The marks of a run are a stranger's: a configuration that is none of ours says nothing.
    if runs.height != 1 or runs["size"][0] not in _CONFIGURATIONS:
        return {}
    return {axis: value for axis, value in runs.select(names).row(0, named=True).items() if value is not None}


def _requested(spec: Model, size: Size, sizes: Mapping[str, int]) -> Request:
    """The default request of a model with other sizes."""
    from ttinsys.published.sheets import ImpossibleRequest

    usable = [axis for axis in ("height", "width", "frames") if getattr(spec.requests[size], axis) is not None]
    unusable = next((axis for axis in ("height", "width", "frames") if axis in sizes and axis not in usable), None)
    if unusable is not None:
        options = ", ".join(f"--{axis}" for axis in (*usable, "batch", "text-tokens"))
        raise click.UsageError(f"{spec.name} has no --{unusable}: it takes {options}")
    try:
        return spec.request(size, **sizes)
    except ImpossibleRequest as error:
        raise click.UsageError(str(error)) from error


def _costs(
    spec: Model, size: Size, request: Request, text_tokens: int | None, *, doubled: bool, itemsize: int
) -> tuple[Mapping[str, Layers], pl.DataFrame]:
    """The layers of a model, and what they cost; a usage error where they cannot be derived."""
    from ttinsys.measures.analytical import TooLarge, model_costs
    from ttinsys.published.layers import NotDerivable, derive_layers, takes_text

    if text_tokens is not None and not takes_text(spec, size):
        raise click.UsageError(f"{spec.name} attends to no text: leave out --text-tokens")
    try:
        layers = derive_layers(spec, size, request, text_tokens)
        return layers, model_costs(layers, batch=request.batch * (2 if doubled else 1), itemsize=itemsize)
    except NotDerivable as error:
        raise click.UsageError(f"{spec.name}: {error}") from error
    except TooLarge as error:
        raise click.UsageError(f"{spec.name}: {error}") from error


def _conditions(spec: Model, size: Size, request: Request, *, doubled: bool) -> str:
    """The sizes that the costs are of, and how guidance counts."""
    from ttinsys.published.layers import guidance_of

    image = f"{request.width}x{request.height} pixels" if request.height else None
    frames = f"{request.frames} frames" if request.frames else None
    guidance = "doubled for guidance" if doubled else "not doubled for guidance"
    if not doubled and guidance_of(spec, size) == "forward":
        guidance = "a second forward of the same size for guidance"
    elif not doubled and guidance_of(spec, size) == "input":
        guidance = "guidance an input of the model"
    asked = ", ".join(filter(None, [spec.title, image, frames, f"batch {request.batch}", guidance]))
    return f"Costs of one forward: {asked}."


def _compared(
    costs: pl.DataFrame, tables: Mapping[str, pl.LazyFrame], spec: Model, size: Size, trace: str
) -> tuple[pl.DataFrame, str]:
    """The costs beside what the trace shows, and a sentence on how far they agree."""
    import polars as pl

    from parsers import TraceError
    from ttinsys.measures.analytical_trace import root_calls, with_trace
    from ttinsys.published.layers import derivable_components
    from ttinsys.tables.needs import ATTENTION_LENGTHS, Lacking, present

    if not present(ATTENTION_LENGTHS, tables).collect().item():
        raise Lacking(f"{trace} {ATTENTION_LENGTHS.lacking}")
    # A decoded token is no prefill.
    calls = tables["calls"].filter((pl.col("phase") != "decode").fill_null(value=True)).collect()
    classes = derivable_components(spec, size)
    roots = root_calls(calls, classes)
    if not roots:
        raise TraceError(f"{trace} has no call of {', '.join(classes.values())}: name the model that it ran")
    result = with_trace(costs, calls, roots)
    forwards = ", ".join(f"{root.forwards:,} forwards of {component}" for component, root in roots.items())
    differing = result["note"].count()
    agreement = f"{differing} of {result.height} rows differ, as their notes say" if differing else "all rows agree"
    return result, f"{trace}: {forwards}; {agreement}."
