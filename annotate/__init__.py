"""NVTX ranges around every block of a diffusers or transformers model, with what each block does as data in the trace.

    from annotate import annotate

    with annotate(pipeline):
        pipeline("a corgi riding a wave")

On the command line: `nsys profile python -m annotate.run --model stable-diffusion`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from annotate.hooks import Annotation, annotate, attach

__all__ = ["Annotation", "annotate", "attach"]

DISTRIBUTION = "ttinsys"
"""The distribution that this file comes from: see `annotate.installation`."""


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is used."""
    if name in __all__:
        from annotate import hooks

        return getattr(hooks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
