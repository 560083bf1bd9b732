"""Quality of models as papers report it: Fréchet inception distances, each with its source. Nothing here is measured.

A distance holds for one model with the sizes and the sampler of its paper; `model` names it. The model that runs here
may stand in for that one, and its weights may be random. Distances on different data are not comparable.
"""

from __future__ import annotations

from dataclasses import dataclass

COCO = "MS-COCO, zero-shot, 30,000 pictures at 256 pixels"
VTT = "MSR-VTT, zero-shot, frames"
KINETICS = "Kinetics-400, zero-shot, frames"


@dataclass(frozen=True, slots=True)
class Quality:
    """A published Fréchet inception distance.

    Args:
        fid: the distance; lower is better.
        dataset: the data on which it was computed, and the protocol.
        model: the model that reached it.
        source: the paper, and the place in it.
        checked: how the number was verified for this file.
    """

    fid: float
    dataset: str
    model: str
    source: str
    checked: str


_SURVEY = "a survey's table (Cao et al., text-to-image synthesis, 2024, table 2) repeats it"

QUALITY: dict[str, Quality] = {
    "stable-diffusion": Quality(
        9.62,
        COCO,
        "Stable Diffusion 1.5, measured by others",
        "Kang et al., Scaling up GANs for Text-to-Image Synthesis (GigaGAN), arXiv 2303.05511, table 2; the authors "
        "of Stable Diffusion report 12.63 for an older model (Rombach et al., arXiv 2112.10752, table 2)",
        "from memory of both papers; 12.63: " + _SURVEY,
    ),
    "imagen": Quality(
        7.27,
        COCO,
        "Imagen",
        "Saharia et al., Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding, "
        "arXiv 2205.11487, abstract and table 1; the model card of DeepFloyd IF, which runs here, reports 6.66",
        "read in the abstract of the paper and in the model card",
    ),
    "muse": Quality(
        7.88,
        COCO,
        "Muse 3B",
        "Chang et al., Muse: Text-To-Image Generation via Masked Generative Transformers, arXiv 2301.00704, abstract",
        "read in the abstract",
    ),
    "parti": Quality(
        7.23,
        COCO,
        "Parti 20B",
        "Yu et al., Scaling Autoregressive Models for Content-Rich Text-to-Image Generation (Parti), arXiv 2206.10789, "
        "abstract",
        "read in the abstract",
    ),
    "parti-3b": Quality(
        8.10,
        COCO,
        "Parti 3B",
        "Yu et al., Scaling Autoregressive Models for Content-Rich Text-to-Image Generation (Parti), arXiv 2206.10789, "
        "in its comparison of model sizes",
        "from memory of the paper",
    ),
    "make-a-video": Quality(
        13.17,
        VTT,
        "Make-A-Video",
        "Singer et al., Make-A-Video: Text-to-Video Generation without Text-Video Data, arXiv 2209.14792, table 1; the "
        "report of ModelScope, which runs here, reports 11.09 (Wang et al., arXiv 2308.06571)",
        "13.17 from memory of the paper; 11.09 as Papers with Code lists it",
    ),
    "phenaki": Quality(
        37.74,
        KINETICS,
        "Phenaki",
        "Villegas et al., Phenaki: Variable Length Video Generation From Open Domain Textual Description, "
        "arXiv 2210.02399, table 1",
        "from memory of the paper",
    ),
    "pixart": Quality(
        7.32,
        COCO,
        "PixArt-alpha",
        "Chen et al., PixArt-alpha: Fast Training of Diffusion Transformer for Photorealistic Text-to-Image Synthesis, "
        "arXiv 2310.00426, table 2",
        "from memory of the paper",
    ),
}
"""Quality by model of `annotate.models`. A model is absent where no single source reports its distance."""
