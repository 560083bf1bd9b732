r"""Say what a GPU would do: a full-size run without one, written as a trace in nsys's layout.

\b
    python -m annotate.simulate --model stable-diffusion --gpu h200
    python -m annotate.simulate --model llama2-7b --gpu a100 --tokens 16 --attention eager -o llama_pqtdir
    python -m annotate.simulate --list-gpus

Shapes are those of the real model, on torch's meta device; ranges and API calls are as they would be; kernels have the
names that PyTorch launches; times come from a roofline model, which annotate/simulation/timeline.py documents. The
trace says inside that it is simulated.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from annotate.cli import help_text, main, model_options, requested, say

if TYPE_CHECKING:
    from annotate.models import Size
    from annotate.simulation.run import Simulated


@click.command(help=help_text(__doc__), context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", "name", metavar="NAME", help="What to run: python -m annotate.run --list shows them.")
@click.option("--gpu", "key", metavar="NAME", default="h200", show_default=True, help="On what: see --list-gpus.")
@model_options
@click.option(
    "--attention",
    type=click.Choice(["sdpa", "flash", "eager"]),
    default="sdpa",
    show_default=True,
    help="Fused (sdpa and flash are the same kernels here), or unfused.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to write; MODEL-GPU-simulated_pqtdir by default.",
)
@click.option("--force", is_flag=True, help="Replace an export that is there.")
@click.option("--list-gpus", is_flag=True, help="List the GPUs.")
def command(name: str | None, key: str, *, output: Path | None, force: bool, list_gpus: bool, **chosen: Any) -> None:
    """See the module."""
    from annotate.gpus import gpu

    if list_gpus:
        click.echo(_gpus(), nl=False)
        return
    if name is None:
        raise click.UsageError("say what to run: --model NAME (python -m annotate.run --list shows them)")

    from annotate.models import model

    declared, found = model(name), gpu(key)
    request = requested(declared, chosen)
    folder = output or Path(f"{declared.name}-{found.key}-simulated_pqtdir")

    from annotate.simulation.export import check, write
    from annotate.simulation.run import simulate

    check(folder, force=force)
    simulated = simulate(
        declared,
        cast("Size", chosen["size"]),
        request,
        found,
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
        f"{found.key:8} {found.name:24} {found.half / 1e12:6.0f} TFLOP/s {found.tf32 / 1e12:5.0f} TFLOP/s "
        f"{found.single / 1e12:5.1f} TFLOP/s {found.bandwidth / 1e12:5.2f} TB/s {found.memory // 10**9:4} GB"
        for found in GPUS.values()
    ]
    return "\n".join([head, *rows, ""])


def _progress() -> Any:
    """A count of kernels that stays on its line, where a person looks at it."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda kernels: click.echo(f"\r{kernels:,} kernels", err=True, nl=False)


def _report(simulated: Simulated) -> None:
    """What was simulated, and what is assumed."""
    kernels = sum(done.kernel is not None for done in simulated.timeline.work)
    clear = "\r" if sys.stderr.isatty() else ""
    say(
        f"{clear}{simulated.described['model']} on {simulated.gpu.name}: {kernels:,} kernels, "
        f"{len(simulated.recorder.ranges):,} ranges, {simulated.timeline.busy_ns / 1e6:,.1f} ms of simulated GPU time"
    )
    say(
        "assumed, not measured: durations from a roofline with fixed shares of the data sheet's peak and bandwidth, "
        "5 us of CPU time per operator; caches, clocks and allocation are left out"
    )
    if simulated.weights > simulated.gpu.memory:
        say(
            f"the weights alone, {simulated.weights / 1e9:,.0f} GB, do not fit into its "
            f"{simulated.gpu.memory / 1e9:,.0f} GB: one such GPU could not run this"
        )


if __name__ == "__main__":
    main(command)
