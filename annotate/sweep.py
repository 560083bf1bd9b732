r"""Capture models over a grid of options: one capture per point, in a folder with a manifest.

\b
    python -m annotate.sweep --model stable-diffusion --height 256,512,768 --attention eager,sdpa -o sd-sweep
    python -m annotate.sweep --model make-a-video --frames 8,16,32 -o frames --dry-run

Options are those of annotate.run, each with one value or several, separated by commas; without --width, the width
follows the height. A point that fails does not stop the others: the manifest holds its error. The same command again
goes on where the sweep stopped; --retry repeats the points that failed.

Exit status: 0 done, 2 wrong usage, 3 a point failed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from annotate.cli import DTYPES, REQUEST_NAMES, SIZES, Choice, help_text, main, say
from annotate.errors import AnnotateError, RunFailed, unknown
from annotate.labels import LEVELS

MANIFEST = "sweep.json"
FORMAT = 1
"""Version of the manifest."""

_AXES = (
    "model",
    "size",
    "device",
    "dtype",
    *(name.replace("_", "-") for name in REQUEST_NAMES),
    "attention",
    "compile",
    "granularity",
)
_PASSED = ("warmup", "repeat", "pretrained")


def _axes(command: Any) -> Any:
    for name in reversed(_AXES):
        command = click.option(
            f"--{name}", name.replace("-", "_"), metavar="A,B,...", help=f"Values of --{name} of annotate.run."
        )(command)
    for name in reversed(_PASSED):
        command = click.option(
            f"--{name}", metavar="VALUE", help=f"Value of --{name} of annotate.run, for all points."
        )(command)
    return command


@click.command(help=help_text(__doc__), context_settings={"help_option_names": ["-h", "--help"]})
@_axes
@click.option("--cuda-graphs", is_flag=True, help="As --cuda-graphs of annotate.run, for all points.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the captures and the manifest.",
)
@click.option(
    "--export",
    "kind",
    type=Choice(["sqlite", "parquetdir", "arrowdir"]),
    default="parquetdir",
    show_default=True,
    help="Format that captures are exported to.",
)
@click.option("--keep-reports", is_flag=True, help="Keep the .nsys-rep beside each export.")
@click.option("--retry", is_flag=True, help="Repeat the points that failed.")
@click.option("--dry-run", is_flag=True, help="Print the commands without running them.")
@click.option("--nsys", metavar="PATH", help="Path of nsys. Default: $NSYS, or nsys on PATH.")
def command(
    folder: Path, kind: str, *, keep_reports: bool, retry: bool, dry_run: bool, nsys: str | None, **chosen: Any
) -> None:
    """Capture every point of the grid; the module's docstring is the help."""
    points = list(grid(chosen))
    if not points or not chosen["model"]:
        raise click.UsageError("name what to run: --model NAME[,NAME...]")
    _check(points)
    if dry_run:
        for point in points:
            click.echo(shlex.join(["python", "-m", "annotate.run", *arguments(point)]))
        return
    from annotate.nsys import find_nsys

    program = find_nsys(nsys)
    manifest = Manifest(folder)
    failed = 0
    for number, point in enumerate(points, start=1):
        name = title(point)
        done = manifest.get(point)
        if done and (done["status"] == "done" or not retry):
            say(f"[{number}/{len(points)}] {name}: {done['status']} before")
            failed += done["status"] != "done"
            continue
        say(f"[{number}/{len(points)}] {name}")
        entry = run_point(point, folder, kind=kind, nsys=program, keep_report=keep_reports)
        if entry["status"] == "failed":
            failed += 1
            say(f"    failed: {entry['error']}")
        manifest.put(point, entry)
    if failed:
        raise RunFailed(f"{failed} of {len(points)} points failed: {folder / MANIFEST} says why; --retry repeats them")
    say(f"{folder / MANIFEST}: {len(points)} captures")


def grid(chosen: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield every combination of the values as a point: options in the order of `_AXES`, the first varying slowest."""
    names = [name for name in (axis.replace("-", "_") for axis in _AXES) if chosen.get(name)]
    values = [[value for value in str(chosen[name]).split(",") if value] for name in names]
    fixed = {name: str(chosen[name]) for name in _PASSED if chosen.get(name) is not None}
    for combination in itertools.product(*values):
        point = {**dict(zip(names, combination, strict=True)), **fixed}
        if "height" in point and "width" not in point:
            point["width"] = point["height"]
        if chosen.get("cuda_graphs"):
            point["cuda_graphs"] = ""
        yield point


def arguments(point: Mapping[str, str]) -> list[str]:
    """A point as arguments of `annotate.run`, which captures the measured runs only."""
    words = [word for name, value in point.items() for word in (f"--{name.replace('_', '-')}", value) if word]
    return [*words, "--capture-range"]


def title(point: Mapping[str, str]) -> str:
    """A point in words, as `sdxl height=512 attention=eager`."""
    return " ".join(value if name == "model" else f"{name}={value}" if value else name for name, value in point.items())


def _check(points: Sequence[Mapping[str, str]]) -> None:
    """Refuse points that no machine could run, before the first is captured."""
    from annotate.models import model

    for point in points:
        declared = model(point["model"])
        for name, words in _WORDS.items():
            if point.get(name, words[0]) not in words:
                raise click.UsageError(unknown(f"--{name}", point[name], words))
        numbers = {name: _whole(name, point[name]) for name in REQUEST_NAMES if name in point}
        declared.request(point.get("size", SIZES[0]), **numbers)  # type: ignore[arg-type]


_WORDS = {"size": SIZES, "dtype": DTYPES, "compile": ("none", "regional", "full"), "granularity": LEVELS}
"""Values of the options that take a word."""


def _whole(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        option = f"--{name.replace('_', '-')}"
        raise click.UsageError(f"{option} {value}: not a whole number; values are separated by commas") from error


def run_point(
    point: Mapping[str, str], folder: Path, *, kind: str, nsys: str, keep_report: bool = False
) -> dict[str, Any]:
    """Capture one point. Returns its entry for the manifest, which holds the error where the point failed."""
    from annotate.profile import profile
    from annotate.run import default_device

    stem = folder / f"{point['model']}-{_digest(point)}"
    try:
        captured = profile(
            arguments(point), stem, device=point.get("device") or default_device(), window=True, kind=kind, nsys=nsys
        )
    except AnnotateError as error:
        return {"status": "failed", "error": str(error)}
    finally:
        if not keep_report:
            stem.with_name(f"{stem.name}.nsys-rep").unlink(missing_ok=True)
    exported = captured.exported or captured.report
    return {
        "status": "done",
        "trace": exported.name,
        "ranges": captured.ranges,
        "runs": [vars(run) for run in captured.runs],
        "run": captured.run,
        "command": shlex.join(captured.command),
    }


def _digest(point: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(sorted(point.items()))).encode()).hexdigest()[:8]


class Manifest:
    """The points of a sweep and what became of them: `sweep.json`, rewritten as a whole after every point.

    Args:
        folder: folder of the sweep; made if it is not there.

    Raises:
        AnnotateError: the folder has a manifest that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / MANIFEST
        self._points: list[dict[str, Any]] = []
        if self._path.exists():
            try:
                content = json.loads(self._path.read_text())
                version, self._points = content["format"], content["points"]
            except (ValueError, KeyError, TypeError, OSError) as error:
                raise AnnotateError(
                    f"{self._path} is not a manifest of a sweep: move it away, or use another folder"
                ) from error
            if version != FORMAT:
                raise AnnotateError(
                    f"{self._path} has format {version} and this version writes {FORMAT}: use another folder"
                )

    def get(self, point: Mapping[str, str]) -> dict[str, Any] | None:
        """The entry of a point; None if it has not been run."""
        return next((entry for entry in self._points if entry["point"] == point), None)

    def put(self, point: Mapping[str, str], entry: Mapping[str, Any]) -> None:
        """Set the entry of a point, and write the manifest."""
        self._points = [known for known in self._points if known["point"] != point]
        self._points.append({"point": dict(point), **entry})
        beside = self._path.with_name(f".{MANIFEST}.partial")
        beside.write_text(json.dumps({"format": FORMAT, "points": self._points}, indent=2) + "\n")
        beside.replace(self._path)


if __name__ == "__main__":
    main(command)
