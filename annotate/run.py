r"""Run a model with NVTX ranges around everything that it calls, under nsys or without it.

\b
    python -m annotate.run --list
    python -m annotate.run --model stable-diffusion --size tiny --device cpu
    python -m annotate.run --model wan-1.3b --steps 3 --profile wan
    nsys profile --trace=cuda,nvtx -o sd python -m annotate.run --model stable-diffusion --attention eager
    python -m annotate.run --script my_pipeline.py --its-own-option 1

Weights are random, unless --pretrained names a folder of real ones: times do not depend on them. Nothing is downloaded.

Exit status: 0 done, 2 wrong usage, 3 the run or its capture failed.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from annotate.cli import Choice, help_text, main, model_options, requested, say

if TYPE_CHECKING:
    from annotate.models import Size
    from annotate.session import Measured, Session


class _WithScript(click.Command):
    """A command whose arguments after `--script FILE` are the script's own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--script") + 2 if "--script" in args else len(args)
        left = super().parse_args(ctx, args[:end])
        ctx.params["arguments"] = tuple(args[end:])
        return left


@click.command(
    cls=_WithScript,
    help=help_text(__doc__),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--model", "name", metavar="NAME", help="Model to run; --list shows all.")
@click.option("--device", help="cuda, cuda:N or cpu. Default: cuda where there is a GPU, else cpu.")
@model_options
@click.option(
    "--attention",
    default="sdpa",
    show_default=True,
    metavar="KIND",
    help="How attention is computed: eager (unfused), sdpa, flash, efficient, cudnn, math, or a backend of diffusers.",
)
@click.option(
    "--compile",
    "compiled",
    type=Choice(["none", "regional", "full"]),
    default="none",
    show_default=True,
    help="Compile nothing, each repeated block of the denoiser, or all of it.",
)
@click.option("--cuda-graphs", is_flag=True, help="Replay the kernels of each call as one CUDA graph.")
@click.option("--no-annotate", is_flag=True, help="Run without ranges, as a baseline.")
@click.option(
    "--warmup", type=click.IntRange(min=0), default=1, show_default=True, help="Runs before the measured ones."
)
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Measured runs.")
@click.option("--capture-range", is_flag=True, help="Capture the measured runs only, without warm-up.")
@click.option("--pretrained", metavar="PATH", help="Folder of real weights.")
@click.option(
    "--profile", metavar="FILE", help="Capture with nsys into FILE.nsys-rep, and check that all ranges arrived."
)
@click.option(
    "--export",
    "kind",
    type=Choice(["sqlite", "parquetdir", "arrowdir", "none"]),
    default="sqlite",
    show_default=True,
    help="Format that --profile exports the report to.",
)
@click.option("--nsys", metavar="PATH", help="Path of nsys. Default: $NSYS, or nsys on PATH.")
@click.option("--list", "listing", is_flag=True, help="List the models.")
@click.option("--describe", metavar="NAME", help="Show a model's components: parameters, memory, FLOPs.")
@click.option(
    "--script",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Run a Python script with all its diffusers pipelines annotated. Arguments after FILE go to the script.",
)
@click.option("--report-to", type=click.Path(path_type=Path), hidden=True)
def command(
    name: str | None,
    *,
    listing: bool,
    describe: str | None,
    script: Path | None,
    arguments: tuple[str, ...],
    **chosen: Any,
) -> None:
    """Run what the options ask for; the module's docstring is the help."""
    if listing:
        from annotate.listing import listing as text

        click.echo(text(), nl=False)
    elif describe:
        from annotate.listing import description

        click.echo(description(describe), nl=False)
    elif script:
        from annotate.script import run_script

        run_script(script, arguments, granularity=chosen["granularity"])
    elif name is None:
        raise click.UsageError("name what to run: --model NAME (--list shows all), or --script FILE")
    elif chosen["profile"]:
        _profile(name, chosen)
    else:
        _run(name, chosen)


def _run(name: str, chosen: dict[str, Any]) -> None:
    """Run in this process."""
    from annotate.backends import Backend, Silent
    from annotate.hooks import nvtx

    backend: Backend = Silent() if chosen["no_annotate"] else nvtx()
    session = _session(name, chosen)
    if not backend.active and not chosen["no_annotate"]:
        say("no tool listens to NVTX, so this run has no ranges; to capture it:")
        say(f"    {shlex.join(_capturing(session, chosen))}")
    results = []
    for number, measured in enumerate(session.run(backend), start=1):
        results.append(measured)
        click.echo(_line(number, measured))
    if backend.active:
        say(f"opened {session.ranges:,} ranges; ttinsys info on the export shows whether all arrived")
    if chosen["report_to"]:
        report = {"ranges": session.ranges, "run": session.described(), "runs": [vars(r) for r in results]}
        chosen["report_to"].write_text(json.dumps(report))


def _session(name: str, chosen: dict[str, Any]) -> Session:
    from annotate.models import model

    declared = model(name)
    request = requested(declared, chosen)

    from annotate.session import Options, Session

    options = Options(
        device=chosen["device"] or default_device(),
        dtype=chosen["dtype"],
        attention=chosen["attention"],
        compile=chosen["compiled"],
        cuda_graphs=chosen["cuda_graphs"],
        granularity=chosen["granularity"],
        warmup=chosen["warmup"],
        repeat=chosen["repeat"],
        window=chosen["capture_range"],
        pretrained=chosen["pretrained"],
    )
    return Session(declared, cast("Size", chosen["size"]), request, options, say=say)


def default_device() -> str:
    """`cuda` where torch sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _line(number: int, measured: Measured) -> str:
    counted = f"{measured.steps} steps, {measured.wall_s / measured.steps:.4f} s each"
    return f"run {number}: {measured.wall_s:.3f} s, {counted}, peak memory {measured.peak_bytes / 2**30:.2f} GiB"


def _capturing(session: Session, chosen: dict[str, Any]) -> list[str]:
    """The nsys command that captures this run."""
    from annotate.nsys import nsys_command

    program = ["python", "-m", "annotate.run", *sys.argv[1:]]
    output = f"{session.model.name}-{session.options.attention}"
    return nsys_command(program, output, device=session.options.device, window=chosen["capture_range"])


def _profile(name: str, chosen: dict[str, Any]) -> None:
    """Run under nsys, and check that every range arrived."""
    from annotate.models import model
    from annotate.profile import profile

    requested(model(name), chosen)  # refuse an impossible request before nsys starts
    captured = profile(
        _without(sys.argv[1:], "--profile", "--export", "--nsys"),
        Path(chosen["profile"]),
        device=chosen["device"] or default_device(),
        window=chosen["capture_range"],
        kind=chosen["kind"],
        nsys=chosen["nsys"],
        say=say,
    )
    for number, measured in enumerate(captured.runs, start=1):
        click.echo(_line(number, measured))
    click.echo(f"{captured.report}: all {captured.ranges:,} ranges arrived")
    if captured.exported:
        click.echo(f"{captured.exported}: ttinsys layers {captured.exported}")


def _without(arguments: list[str], *options: str) -> list[str]:
    """Arguments without some options and their values."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in options:
            skip = True
        elif not argument.startswith(tuple(f"{option}=" for option in options)):
            kept.append(argument)
    return kept


if __name__ == "__main__":
    main(command)
