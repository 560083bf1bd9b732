"""What the study says in numbers, to set measured values beside. Nothing here is ever an expected value.

Marks: **stated** in the abstract; **recalled** from the body; **computed** from the definitions of the models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mark = Literal["stated", "recalled", "computed"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One number of the study.

    Args:
        item: the figure or table, by its `id` in `ttinsys.study.items`.
        subject: the model, by our name of what stands for it, or what it is about.
        says: what is claimed, in words.
        published: the value, as text.
        mark: how sure it is that the study says so.
    """

    item: str
    subject: str
    says: str
    published: str
    mark: Mark


SPEEDUPS = {
    "llama2-7b": 1.52,
    "imagen": 1.22,
    "stable-diffusion": 1.67,
    "muse": 1.11,
    "parti-3b": 1.17,
    "sdxl": 1.04,
    "make-a-video": 1.06,
    "phenaki": 1.15,
}
"""Table II: end-to-end speedup of FlashAttention-2 on an A100, by our name of what stands for the model."""

CLAIMS = (
    *(
        Claim("table-2", name, "end-to-end speedup of fused over unfused attention", f"{value:.2f}", "recalled")
        for name, value in SPEEDUPS.items()
    ),
    Claim("table-2", "diffusion", "its speedup over that of transformer text-to-image", "1.1 to 2.5 times", "stated"),
    Claim("table-3", "stable-diffusion", "its attention works like", "prefill", "stated"),
    Claim("table-3", "parti-3b", "its attention works like", "decode", "stated"),
    Claim("figure-5", "diffusion", "its intensity over that of Parti", "up to 100 times", "recalled"),
    Claim("figure-6", "diffusion", "most that convolution takes, attention fused", "up to 44%", "stated"),
    Claim("figure-6", "transformers", "most that linear layers take, attention fused", "up to 49%", "stated"),
    Claim(
        "figure-7", "stable-diffusion", "largest over smallest length within one inference", "up to 4 times", "stated"
    ),
    Claim("figure-9", "eager", "what grows faster with the picture", "attention", "recalled"),
    Claim("figure-9", "fused", "what grows faster with the picture", "convolution", "recalled"),
    Claim("figure-11", "make-a-video", "time of temporal over that of spatial attention", "about 2", "recalled"),
    Claim("figure-11", "make-a-video", "FLOPs of spatial over those of temporal attention", "about 9", "recalled"),
    Claim("figure-11", "make-a-video", "share of temporal in the time of both", "over 60%", "stated"),
    Claim(
        "figure-12", "make-a-video", "L1 hit rate of spatial over that of temporal attention", "about 10", "recalled"
    ),
    Claim("figure-13", "make-a-video", "FLOPs of spatial attention grow as frames to the power of", "1", "recalled"),
    Claim("figure-13", "make-a-video", "FLOPs of temporal attention grow as frames to the power of", "2", "recalled"),
)
"""By figure and table, each to be set beside what `ttinsys.study.measures` finds under the same item and subject."""
