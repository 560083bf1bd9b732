"""Every model at its tiny size: ranges, roles, steps, lengths attended over and FLOPs; and its published size."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from annotate.backends import Range, Recorder
from annotate.labels import CALL_TEXT, COMPONENTS, ROLES
from annotate.models import MODELS, model

pytest.importorskip("torch")
pytest.importorskip("diffusers")

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from annotate.build import _WithoutFilling, build
    from annotate.hooks import annotate
    from annotate.tracer import Tracer

LEVELS = ("leaf", "block", "component", "stage", "step")

SAME = {"parti-3b": "parti", "llama2-70b": "llama2-7b", "cogvideox-5b": "cogvideox-2b", "wan-14b": "wan-1.3b"}
"""Models that differ in size alone, and not in their tiny size."""

GOLDEN = """
                        stable-diffusion imagen muse parti sdxl make-a-video phenaki llama2-7b  svd animatediff
step                                   3      6    2    20    2            2       2         5    2           2
spatial_attention                     62      0    8     2   46           42       4         0   42          42
temporal_attention                     0      0    0     0    0           88       4         0   40         104
spatiotemporal_attention               0      0    0     0    0            0       8         0    0           0
cross_attention                       60      0   40   120   44           40       8         0   80          40
joint_attention                        0    116    0     0    0            0       0         0    0           0
self_attention                         8     14    8   122    8            8       4        20    4           8
spatial_conv                         133    280   42    25   81           97       0         0  113          97
temporal_conv                          0      0    0     0    0          112       0         0   75           0
pointwise_conv                        88     64    7     1   15           19       0         0   19          59
linear                               376    538  184   516  307          564      85        75  601         572
group_norm                           139    390   25    22   82          234       0         0  185         126
layer_norm                           100     12   34     0   76          136      23         0  146         148
rms_norm                               0     10   46   203    0            0       5        25    0           0
activation                           187    368   55    82  119          267      10        10  306         159
elementwise                            0      4    0     0    0            0       2         0   57           0
embedding                             12     26   13    43   14           10      14         5   50          62
rope                                   0      0    0     0    0            0       0         5    0           0
resample                              21    140    8     3   11           15       0         0   18          15
scheduler                              3      6    2     0    2            2       2         0    2           2
other                                200    205   70   384  133          350      34        36  286         224

                          sd3 flux pixart kandinsky-2.2 latte cogvideox-2b hunyuan-video  ltx mochi wan-1.3b
step                        2    2      2             4     2            2             2    2     2        2
spatial_attention           2    2     10             6    10            0             0    0     0        6
temporal_attention          0    0      0             0     8            0             0    0     0        0
spatiotemporal_attention    0    0      0             0     0            0             2    8     0       16
cross_attention             0    0      8             0     8            0             0    8     0       16
joint_attention             8   16      0            40     0            8            16    0    12        0
self_attention             24    8      8            20     8            8            14    8    12        8
spatial_conv               27   25     27           110    27            8             2    0     2       13
temporal_conv               0    0      0             0     0            0             0    0     0        4
spatiotemporal_conv         0    0      0             0     0           44            25   19    10       66
pointwise_conv              0    0      1            67     1           86             2    2     1       10
linear                    148  130     92           255   108           70           157   82    98      132
group_norm                 22   22     22           150    22           84            22    0    30        0
layer_norm                 46   41     12            40    20           38            47    6     6       28
rms_norm                   10   29     10             0    10           10            31   49    78      108
activation                 53   57     39           157    39           62            68   29    39       87
elementwise                 4    2      4             0     4            4             0    4     4        4
embedding                  24   17     20            18    12           10            22   10    12       18
rope                        0    0      0             0     0            0             3    2     2        4
resample                    3    3      3            43     3            6             3    3     0       18
scheduler                   2    2      2             4     2            2             2    2     2        2
other                      82   56     50           107    62          194            92   71    58      108
"""
"""Steps, and ranges of each role, in one tiny run.

Worked out for Stable Diffusion: PNDM steps 3 times for 2, and its U-Net has 10 transformer blocks (3 going down, 1 in
the middle, 3 * 2 going up), each with a self-attention and a cross-attention, which are two ranges each, module and
core: 3 * 10 * 2 = 60, and 2 of the VAE's. Text is encoded twice, without and with the prompt, by 2 layers: 2 * 2 * 2.
"""

_IMAGE = {("spatial_attention", 256, 256)}  # the VAE's middle block, at 128/8 squared
_CLIP = {("self_attention", 13, 13)}  # 13 tokens; T5 reads as many in most models
_UNET = {(role, n, m) for n in (4, 16, 64, 256) for role, m in (("spatial_attention", n), ("cross_attention", 13))}
LENGTHS: dict[str, set[tuple[str, int, int]]] = {
    # Latents are 16 high and wide, and halved three times.
    "stable-diffusion": _IMAGE | _CLIP | _UNET,
    # Pixels, 32 by 32 and 128 by 128, with attention at 16, 8 and 4; and 77 tokens of text.
    "imagen": {("joint_attention", n, n + 77) for n in (16, 64, 256)} | {("self_attention", 77, 77)},
    # 8 by 8 tokens, halved before the transformer.
    "muse": {("cross_attention", 16, 13), ("spatial_attention", 16, 16)} | _CLIP,
    # 20 tokens written, of which 4 by 4 make a picture; 29 of text.
    "parti": {("self_attention", 1, n) for n in range(1, 21)}
    | {("self_attention", 29, 29), ("cross_attention", 1, 29), ("spatial_attention", 16, 16)},
    # Of three levels the first has no attention.
    "sdxl": _IMAGE | _CLIP | {entry for entry in _UNET if entry[1] in {16, 64}},
    # 6 frames.
    "make-a-video": _IMAGE | _CLIP | _UNET | {("temporal_attention", 6, 6)},
    # 9 frames are 1 + 8/2 times of 4 by 4 tokens.
    "phenaki": {("spatiotemporal_attention", 80, 80), ("cross_attention", 80, 13), ("temporal_attention", 5, 5)}
    | {("spatial_attention", 16, 16)}
    | _CLIP,
    # A prompt of 11 gives the first of 5 tokens; each of the others comes with one more key.
    "llama2-7b": {("self_attention", 11, 11)} | {("self_attention", 1, n) for n in range(12, 16)},
    # A picture is one key, over space and over the 6 frames; its encoder reads 7 by 7 patches and a class token.
    "svd": _IMAGE
    | {(role, n, 1 if role == "cross_attention" else m) for role, n, m in _UNET}
    | {("temporal_attention", 6, 6), ("cross_attention", 6, 1), ("self_attention", 50, 50)},
    "animatediff": _IMAGE | _CLIP | _UNET | {("temporal_attention", 6, 6)},
    # 8 by 8 patches, 13 tokens of CLIP, 19 of T5.
    "sd3": _IMAGE | _CLIP | {("self_attention", 19, 19), ("joint_attention", 64 + 13 + 19, 64 + 13 + 19)},
    # Of CLIP it takes the pooled output alone.
    "flux": _IMAGE | _CLIP | {("self_attention", 19, 19), ("joint_attention", 64 + 19, 64 + 19)},
    "pixart": _IMAGE | _CLIP | {("spatial_attention", 64, 64), ("cross_attention", 64, 13)},
    # Keys of a picture's embedding: 32. The prior reads 13 of text and 4 of its own, the image encoder 3 by 3 patches.
    "kandinsky-2.2": _IMAGE
    | _CLIP
    | {("joint_attention", n, n + 32) for n in (4, 16, 64)}
    | {("self_attention", 13 + 4, 13 + 4), ("self_attention", 10, 10)},
    # T5 reads 120 tokens, of which the prompt's 12 and the end are kept.
    "latte": _IMAGE
    | {("spatial_attention", 64, 64), ("cross_attention", 64, 13), ("temporal_attention", 6, 6)}
    | {("self_attention", 120, 120)},
    # 17 frames are 5 of latents, of 4 by 6 patches; and the text.
    "cogvideox-2b": _CLIP | {("joint_attention", 5 * 24 + 13, 5 * 24 + 13)},
    # 9 frames are 3 of latents, 8 by 12 for the VAE; Llama reads a template of 99 before the text, CLIP is at its 77.
    "hunyuan-video": _CLIP
    | {("joint_attention", 3 * 24 + 13, 3 * 24 + 13), ("spatiotemporal_attention", 3 * 96, 3 * 96)}
    | {("self_attention", 77, 77), ("self_attention", 99 + 13, 99 + 13)},
    "ltx": _CLIP | {("spatiotemporal_attention", 3 * 24, 3 * 24), ("cross_attention", 3 * 24, 13)},
    # Text without its padding: 7 words and the end, or the end alone. The pooling's query is the mean of 13 tokens.
    "mochi": _CLIP | {("joint_attention", 72 + n, 72 + n) for n in (1, 8)} | {("self_attention", 1, 1 + 13)},
    # The VAE attends within each frame.
    "wan-1.3b": _CLIP
    | {("spatiotemporal_attention", 3 * 24, 3 * 24), ("cross_attention", 3 * 24, 13)}
    | {("spatial_attention", 96, 96)},
}
"""Role, queries and keys of every attention: frames, places and tokens differ in number, so that none is mistaken."""

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't:DeprecationWarning"
)  # of torch by numpy


@dataclass(frozen=True)
class Run:
    """A model's tiny run at the finest granularity; FLOPs by granularity, and as torch counts them."""

    recorder: Recorder
    tracer: Tracer
    flops: dict[str, int]
    counted: int
    inside: int
    same: bool


def tensors(output: Any) -> list[torch.Tensor]:
    """All tensors in what a pipeline returned."""
    values = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    return [output] if isinstance(output, torch.Tensor) else [found for value in values for found in tensors(value)]


def flops_of(recorder: Recorder, tracer: Tracer) -> int:
    calls = [opened.call for opened in recorder.ranges]
    calls += [mark.payload for mark in recorder.marks if mark.text == CALL_TEXT and mark.payload is not None]
    return sum(tracer.calls.values(call).get("flops", 0) for call in calls)


@cache
def run(name: str) -> Run:
    """Build and run a model, once per process."""
    torch.set_num_threads(1)  # tests run side by side, and tensors are small
    chosen = model(name)
    pipeline, request = build(chosen, "tiny"), chosen.request("tiny")
    for part in getattr(pipeline, "stages", {"": pipeline}).values():
        getattr(part, "set_progress_bar_config", lambda **_: None)(disable=True)
    recorders, flops, same = {}, {}, True
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the CPU's fused attention is none that torch counts
        with FlopCounterMode(display=False) as counter:
            expected = tensors(chosen.generate(pipeline, request))
        for level in LEVELS:
            recorder = recorders[level] = Recorder()
            with annotate(pipeline, backend=recorder, granularity=level) as annotation:
                found = tensors(chosen.generate(pipeline, request))
            flops[level] = flops_of(recorder, annotation.tracer)
            same &= bool(expected) and len(expected) == len(found) and all(map(torch.equal, expected, found))
            if level == "leaf":
                tracer = annotation.tracer
    roots = {module: sum(counts.values()) for module, counts in counter.get_flop_counts().items() if "." not in module}
    return Run(recorders["leaf"], tracer, flops, roots.pop("Global"), sum(roots.values()), same)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def golden() -> Iterator[tuple[str, dict[str, int]]]:
    for table in GOLDEN.strip().split("\n\n"):
        names, *rows = (line.split() for line in table.splitlines())
        for column, found in enumerate(names, 1):
            yield found, {row[0]: int(row[column]) for row in rows}


def parents(recorder: Recorder) -> Iterator[tuple[Range, Range]]:
    return ((opened, opened.parent) for opened in recorder.ranges if opened.parent is not None)


def test_published_parameters_are_exact(name: str) -> None:
    chosen, counted = model(name), {}
    for part, declared in chosen.full.items():
        with torch.device("meta" if part in chosen.parameters else "cpu"), _WithoutFilling():
            made = declared.build()
        if isinstance(made, torch.nn.Module):
            counted[part] = sum(parameter.numel() for parameter in made.parameters())
    assert counted == chosen.parameters


def test_every_range_is_closed_and_lies_in_its_parent(name: str) -> None:
    recorder = run(name).recorder
    assert recorder.open == []
    for opened, parent in parents(recorder):
        assert opened.depth == parent.depth + 1
        assert opened.end_ns is not None
        assert parent.end_ns is not None
        assert parent.start_ns <= opened.start_ns <= opened.end_ns <= parent.end_ns


def test_names_inside_a_module_begin_with_its_name(name: str) -> None:
    recorder, labels = run(name).recorder, run(name).tracer.labels
    within = [pair for pair in parents(recorder) if labels[pair[1].name].level in {"component", "block"}]
    assert within
    assert {(o.name, p.name) for o, p in within if "." in o.name and not o.name.startswith(f"{p.name}.")} == set()


def test_every_range_is_described_with_a_known_role_and_component(name: str) -> None:
    recorder, labels = run(name).recorder, run(name).tracer.labels
    assert {(opened.name, opened.role) for opened in recorder.ranges} <= {(n, la.role) for n, la in labels.items()}
    assert {label.component for label in labels.values()} <= {None, *COMPONENTS}
    assert {opened.name for opened in recorder.ranges if labels[opened.name].component is None} <= {
        found for found, label in labels.items() if label.level in {"step", "stage"}
    }


def test_roles_and_steps_are_as_many_as_ever(name: str) -> None:
    recorder, labels = run(name).recorder, run(name).tracer.labels
    found = Counter(opened.role for opened in recorder.ranges)
    found["step"] = sum(labels[opened.name].cls == "step" for opened in recorder.ranges)
    expected = dict(golden())[SAME.get(name, name)]
    assert {role: found[role] for role in ("step", *ROLES)} == {"rearrange": 0, "spatiotemporal_conv": 0, **expected}


def test_steps_count_from_zero_in_each_pipeline(name: str) -> None:
    recorder, tracer = run(name).recorder, run(name).tracer
    steps: dict[str, list[int]] = {}
    for opened in recorder.ranges:
        if tracer.labels[opened.name].cls == "step":
            steps.setdefault(opened.name, []).append(tracer.calls.values(opened.call)["step"])
    assert steps
    assert all(numbers == list(range(len(numbers))) for numbers in steps.values())


def test_no_leaf_is_of_no_role(name: str) -> None:
    recorder, labels = run(name).recorder, run(name).tracer.labels
    leaves = [labels[opened.name] for opened in recorder.ranges if labels[opened.name].level == "leaf"]
    assert leaves
    assert {label.cls for label in leaves if label.role == "other"} == set()


def test_attention_is_over_the_lengths_that_its_role_says(name: str) -> None:
    recorder, calls = run(name).recorder, run(name).tracer.calls
    cores = [(opened.role, calls.values(opened.call)) for opened in recorder.ranges if opened.name.endswith(".core")]
    assert {(role, call["q_len"], call["kv_len"]) for role, call in cores} == LENGTHS[SAME.get(name, name)]


def test_flops_are_those_that_torch_counts(name: str) -> None:
    found = run(name)
    # Imagen's prompts are encoded before its pipelines are called: below stages nothing is around that.
    levels = [level for level in LEVELS if (name, level) != ("imagen", "step")]
    assert {level: found.flops[level] for level in levels} == dict.fromkeys(levels, found.inside)


def test_nothing_is_computed_outside_modules_but_by_svd(name: str) -> None:
    # Its pipeline blurs the picture that it is given, in two convolutions of three by one.
    blur = 2 * (2 * 3) * (3 * 128 * 128) if name == "svd" else 0
    assert run(name).counted - run(name).inside == blur


def test_results_are_the_same_to_the_bit(name: str) -> None:
    assert run(name).same
