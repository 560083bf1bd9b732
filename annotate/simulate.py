r"""Simulate a run at full size without a GPU, as a trace in the layout of an nsys export.

\b
    python -m annotate.simulate --model stable-diffusion --gpu h200
    python -m annotate.simulate --model llama2-7b --gpu a100 --tokens 16 --attention eager -o llama_pqtdir
    python -m annotate.simulate --list-gpus

Shapes are those of the real model, on torch's meta device; ranges, API calls and kernel names are those of a real run.
Times come from a roofline model, which annotate/simulation/timeline.py documents. The trace itself says that it is
simulated.

Exit status: 0 done, 2 wrong usage, 3 the run or its output failed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from annotate.cli import Choice, help_text, main, model_options, requested, say

if TYPE_CHECKING:
    from annotate.models import Size
    from annotate.simulation.run import Simulated


@click.command(help=help_text(__doc__), context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", "name", metavar="NAME", help="Model to run; python -m annotate.run --list shows all.")
@click.option(
    "--gpu", "key", metavar="NAME", default="h200", show_default=True, help="GPU to simulate; --list-gpus shows all."
)
@model_options
@click.option(
    "--attention",
    type=Choice(["sdpa", "flash", "eager"]),
    default="sdpa",
    show_default=True,
    help="Fused attention (sdpa and flash are the same kernels here), or unfused.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write. Default: MODEL-GPU-simulated_pqtdir.",
)
@click.option("--force", is_flag=True, help="Replace the folder if it holds an export.")
@click.option("--list-gpus", is_flag=True, help="List the GPUs.")
def command(name: str | None, key: str, *, output: Path | None, force: bool, list_gpus: bool, **chosen: Any) -> None:
    """Simulate a run; the module's docstring is the help."""
    from annotate.gpus import gpu

    if list_gpus:
        click.echo(_gpus(), nl=False)
        return
    if name is None:
        raise click.UsageError("name what to run: --model NAME (python -m annotate.run --list shows all)")

    from annotate.models import model

    declared, simulated_gpu = model(name), gpu(key)
    request = requested(declared, chosen)
    folder = output or Path(f"{declared.name}-{simulated_gpu.key}-simulated_pqtdir")

    from annotate.simulation.export import check, write
    from annotate.simulation.run import simulate

    check(folder, force=force)
    simulated = simulate(
        declared,
        cast("Size", chosen["size"]),
        request,
        simulated_gpu,
        attend=chosen["attention"],
        dtype=chosen["dtype"],
        granularity=chosen["granularity"],
        progress=_progress(),
    )
    write(simulated, folder, force=force)
    _report(simulated)
    click.echo(folder)


def _gpus() -> str:
    from annotate.gpus import GPUS

    head = f"{'gpu':8} {'name':24} {'half':>13} {'TF32':>13} {'FP32':>13} {'bandwidth':>10} {'memory':>7}"
    rows = [
        f"{each.key:8} {each.name:24} {each.half / 1e12:6.0f} TFLOP/s {each.tf32 / 1e12:5.0f} TFLOP/s "
        f"{each.single / 1e12:5.1f} TFLOP/s {each.bandwidth / 1e12:5.2f} TB/s {each.memory // 10**9:4} GB"
        for each in GPUS.values()
    ]
    return "\n".join([head, *rows, ""])


def _progress() -> Any:
    """Return a function that shows the number of kernels on one line of a terminal."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda kernels: click.echo(f"\r{kernels:,} kernels", err=True, nl=False)


def _report(simulated: Simulated) -> None:
    """Print what was simulated and what it assumes."""
    kernels = sum(done.kernel is not None for done in simulated.timeline.work)
    clear = "\r" if sys.stderr.isatty() else ""
    say(
        f"{clear}{simulated.described['model']} on {simulated.gpu.name}: {kernels:,} kernels, "
        f"{len(simulated.recorder.ranges):,} ranges, {simulated.timeline.busy_ns / 1e6:,.1f} ms of simulated GPU time"
    )
    say(
        "assumed, not measured: durations from a roofline at fixed fractions of the data sheet's peak and bandwidth; "
        "5 us of CPU time per operator; no caches, clocks or allocation"
    )
    if simulated.weights > simulated.gpu.memory:
        say(
            f"the weights alone take {simulated.weights / 1e9:,.0f} GB and the GPU has "
            f"{simulated.gpu.memory / 1e9:,.0f} GB: one such GPU could not run this"
        )


if __name__ == "__main__":
    main(command)
