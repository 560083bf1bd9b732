"""What was published, of GPUs and of models: the one door through which the analysis sees the data of `annotate`.

None of it is measured here; every entry names its source. Nothing imports torch.
"""

from __future__ import annotations

from annotate.gpus import GPUS, Gpu, known
from annotate.models import MODELS, Model, model

__all__ = ["GPUS", "MODELS", "Gpu", "Model", "known", "model"]
