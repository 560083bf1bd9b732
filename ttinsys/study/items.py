"""The figures and tables of the study: what each shows, which captures it needs, and how to make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ttinsys.pages.gather import Shown
from ttinsys.pages.sections import View
from ttinsys.study.captures import Captures
from ttinsys.study.others import caches, costs, memory, models

EIGHT = "stable-diffusion,imagen,sdxl,muse,parti-3b,make-a-video,phenaki,llama2-7b"
"""The study's eight models, by our names of what stands for them."""
_BOTH = f"python -m annotate.sweep --model {EIGHT} --attention eager,sdpa -o FOLDER"


@dataclass(frozen=True, slots=True)
class Group:
    """Captures that one view shows together.

    Args:
        label: what they have in common; empty where the item says it.
        traces: names of the captures.
    """

    label: str
    traces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A figure or table of the study.

    Args:
        id: identifier, such as `figure-6` or `table-2`.
        title: title with the number in the paper.
        shows: what it shows, in one sentence.
        views: the analyses that it consists of.
        pick: function from the captures of a folder to the groups to show; none where the folder lacks them.
        capture: command that makes the missing captures.
        made: function that yields its tables with their labels, where they are not results of `views`.
    """

    id: str
    title: str
    shows: str
    views: tuple[View, ...]
    pick: Callable[[Captures], list[Group]]
    capture: str
    made: Callable[[Captures], Iterator[tuple[str, Shown]]] | None = None


def _each_model(captures: Captures) -> list[Group]:
    return [Group(captures.model_of(name), (name,)) for name in captures.models()]


def _of(*models: str) -> Callable[[Captures], list[Group]]:
    """A function that picks one capture of each of some models."""
    return lambda captures: [group for group in _each_model(captures) if group.label in models]


def _each_pair(captures: Captures) -> list[Group]:
    return [Group(captures.model_of(pair[0]), pair) for pair in captures.pairs()]


def _all_pairs(captures: Captures) -> list[Group]:
    return _together([name for pair in captures.pairs() for name in pair])


def _none(_: Captures) -> list[Group]:
    return []


def _pictures(captures: Captures) -> list[Group]:
    return _together(captures.sweep("stable-diffusion", "height"))


def _clips(captures: Captures) -> list[Group]:
    return _together(captures.sweep("make-a-video", "frames"))


def _together(traces: list[str]) -> list[Group]:
    return [Group("", tuple(traces))] if traces else []


def _each_picture(captures: Captures) -> list[Group]:
    sweep = captures.runs.filter(captures.runs["trace"].is_in(captures.sweep("stable-diffusion", "height")))
    one = sweep.unique("height", keep="first", maintain_order=True).sort("height")
    return [Group(f"{height} pixels", (name,)) for name, height in one.select("trace", "height").iter_rows()]


ITEMS = (
    Item(
        "figure-1", "Figure 1: memory by parameters",
        "The greatest amount of memory that each run had allocated. (The study shows training jobs of a fleet.)",
        (View("pareto", open=True, figure=False),), _none,
        f"python -m annotate.sweep --model {EIGHT} --attention sdpa -o FOLDER", memory,
    ),
    Item(
        "figure-4", "Figure 4: quality against cost",
        "Time of one image or video against the published FID; lower left is best.",
        (View("pareto", open=True),), _none,
        f"python -m annotate.sweep --model {EIGHT} --attention sdpa -o FOLDER", costs,
    ),
    Item(
        "table-1", "Table I: taxonomy",
        "Architectures as published: kind, parameters, levels with attention, channels and widths.",
        (View("taxonomy"),), _none, "python -m annotate.run --list", models,
    ),
    Item(
        "figure-5", "Figure 5: roofline",
        "Arithmetic intensity and achieved FLOP/s of each model, under the ceilings of its GPU.",
        (View("roofline", "By component", {"by": "component"}, figure=False), View("roofline", "By role")),
        _each_model, _BOTH,
    ),
    Item(
        "figure-6", "Figure 6: operators, before and after fused attention",
        "GPU time by role, relative to unfused attention, with projections counted as linear layers or as attention.",
        (View("breakdown", "Projections as linear"),
         View("breakdown", "Projections as attention", {"projections": "attention"})),
        _each_pair, _BOTH,
    ),
    Item(
        "table-2", "Table II: speedup of fused attention",
        "Speedup end to end, by component and by role.",
        (View("speedup", "", {"pairs": True}, open=True),), _all_pairs, _BOTH,
    ),
    Item(
        "table-3", "Table III: like prefill or like decode",
        "Number of queries per attention call: diffusion models have many, decoders of single tokens one.",
        (View("phases"),), _each_model, _BOTH,
    ),
    Item(
        "figure-7", "Figure 7: sequence length over one inference",
        "Sequence length of every attention call, in the order of the calls.",
        (View("lengths", rows=50), View("lengths", "By step", {"by": "step"}, figure=False)),
        _of("stable-diffusion", "parti", "parti-3b"),
        "python -m annotate.sweep --model stable-diffusion,parti-3b --attention eager -o FOLDER",
    ),
    Item(
        "figure-8", "Figure 8: sequence lengths by image size",
        "Number of attention calls by sequence length.",
        (View("lengths", "", {"by": "length"}),), _each_picture,
        "python -m annotate.sweep --model stable-diffusion --height 256,512,768,1024 --attention eager,sdpa -o FOLDER",
    ),
    Item(
        "figure-9", "Figure 9: attention and convolution by image size",
        "Time per step by family of layers, with its growth, for each implementation of attention.",
        (View("scaling", "", {"by": "family", "over": "pixels"}, open=True),), _pictures,
        "python -m annotate.sweep --model stable-diffusion --height 256,512,768,1024 --attention eager,sdpa -o FOLDER",
    ),
    Item(
        "figure-11", "Figure 11: temporal against spatial attention",
        "Time and FLOPs of both kinds of attention: of the core, and with projections and copies.",
        (View("attention", open=True),), _of("make-a-video"),
        "python -m annotate.sweep --model make-a-video --attention eager,sdpa -o FOLDER",
    ),
    Item(
        "figure-12", "Figure 12: caches",
        "Cache hit rates and DRAM traffic by operator and role, from Nsight Compute profiles beside the captures.",
        (View("cache", open=True),), _none,
        "ncu --csv --page raw --clock-control none --nvtx --metrics l1tex__t_sector_hit_rate.pct,lts__t_sector_hit_rate"
        ".pct,dram__bytes_read.sum,dram__bytes_write.sum,gpu__time_duration.sum python -m annotate.run --model "
        "make-a-video --steps 1 > FOLDER/make-a-video.csv", caches,
    ),
    Item(
        "figure-13", "Figure 13: FLOPs by number of frames",
        "FLOPs per step by role: spatial attention grows as the number of frames, temporal as its square.",
        (View("scaling", "", {"by": "role", "over": "frames"}, open=True),), _clips,
        "python -m annotate.sweep --model make-a-video --frames 8,16,32 --attention eager,sdpa -o FOLDER",
    ),
)  # fmt: skip
"""All figures and tables that can be reproduced, in the order of the page."""
