"""The numbers that the study publishes, shown beside the values measured from captures.

No test and no gate expects these values: other GPUs and versions give others. Marks: **stated** in the abstract;
**recalled** from the body; **computed** from the definitions of the models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mark = Literal["stated", "recalled", "computed"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One number that the study publishes.

    Args:
        id: `ITEM/QUANTITY`, with `/SUBJECT` where several subjects have the quantity. A measure in
            `ttinsys.study.measures` yields its value under this id.
        subject: the model, by our name of what stands for it, or what the claim is about.
        says: what is claimed, in words.
        published: the value, as text.
        mark: how sure it is that the study says so.
    """

    id: str
    subject: str
    says: str
    published: str
    mark: Mark

    @property
    def item(self) -> str:
        """The figure or table, by its `id` in `ttinsys.study.items`."""
        return self.id.partition("/")[0]


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
        Claim(
            f"table-2/speedup/{name}",
            name,
            "end-to-end speedup of fused over unfused attention",
            f"{value:.2f}",
            "recalled",
        )
        for name, value in SPEEDUPS.items()
    ),
    Claim(
        "table-2/relative-speedup",
        "diffusion",
        "speedup relative to that of text-to-image transformers",
        "1.1 to 2.5 times",
        "stated",
    ),
    Claim(
        "table-3/phase/stable-diffusion",
        "stable-diffusion",
        "phase that its attention behaves like",
        "prefill",
        "stated",
    ),
    Claim("table-3/phase/parti-3b", "parti-3b", "phase that its attention behaves like", "decode", "stated"),
    Claim(
        "figure-5/relative-intensity",
        "diffusion",
        "arithmetic intensity relative to that of Parti",
        "up to 100 times",
        "recalled",
    ),
    Claim(
        "figure-6/convolution-share",
        "diffusion",
        "largest share of GPU time in convolution, attention fused",
        "up to 44%",
        "stated",
    ),
    Claim(
        "figure-6/linear-share",
        "transformers",
        "largest share of GPU time in linear layers, attention fused",
        "up to 49%",
        "stated",
    ),
    Claim(
        "figure-7/length-ratio/stable-diffusion",
        "stable-diffusion",
        "longest sequence relative to the shortest within one inference",
        "up to 4 times",
        "stated",
    ),
    Claim("figure-9/faster-growing/eager", "eager", "what grows faster with the image size", "attention", "recalled"),
    Claim("figure-9/faster-growing/fused", "fused", "what grows faster with the image size", "convolution", "recalled"),
    Claim(
        "figure-11/time-ratio",
        "make-a-video",
        "time of temporal attention relative to spatial attention",
        "about 2",
        "recalled",
    ),
    Claim(
        "figure-11/flops-ratio",
        "make-a-video",
        "FLOPs of spatial attention relative to temporal attention",
        "about 9",
        "recalled",
    ),
    Claim(
        "figure-11/temporal-share",
        "make-a-video",
        "share of temporal attention in the time of both",
        "over 60%",
        "stated",
    ),
    Claim(
        "figure-12/l1-hit-ratio",
        "make-a-video",
        "L1 hit rate of spatial attention relative to temporal attention",
        "about 10",
        "recalled",
    ),
    Claim(
        "figure-13/flops-exponent/spatial",
        "make-a-video",
        "power of the number of frames with which FLOPs of spatial attention grow",
        "1",
        "recalled",
    ),
    Claim(
        "figure-13/flops-exponent/temporal",
        "make-a-video",
        "power of the number of frames with which FLOPs of temporal attention grow",
        "2",
        "recalled",
    ),
)
"""In the order of the page; each is set beside the value that `ttinsys.study.measures` yields under its id."""
