"""Published facts of GPUs and models: the one door through which the analysis sees the data of `annotate`.

None of it is measured here; every entry names its source. Nothing imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotate.gpus import GPUS, Gpu, known
    from annotate.models import MODELS, Model, model
else:
    from ttinsys._annotate.gpus import GPUS, Gpu, known
    from ttinsys._annotate.models import MODELS, Model, model

__all__ = ["GPUS", "MODELS", "Gpu", "Model", "known", "model"]
