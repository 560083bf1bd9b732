"""A small trace whose kernels, layers and ranges are worked out by hand."""

from __future__ import annotations

from tests.build import TraceBuilder


def two_steps() -> TraceBuilder:
    """Two steps of a UNet; 500 ns in all: 10 outside every range, 40 launched before the capture."""
    t = TraceBuilder()
    main = t.thread()
    for step in range(2):
        at = 1000 * step
        t.range(main, "step", at, at + 900)
        t.range(main, "unet", at + 100, at + 800)
        t.range(main, "unet.conv", at + 200, at + 300)
        t.kernel(main, "cudnn_conv", launch=(at + 210, at + 220), gpu=(at + 400, at + 500))
        t.range(main, "unet.attn", at + 400, at + 500)
        t.kernel(main, "flash_fwd", launch=(at + 410, at + 420), gpu=(at + 500, at + 600))
        t.kernel(main, "add", launch=(at + 600, at + 610), gpu=(at + 600, at + 620))
        t.kernel(main, "euler", launch=(at + 850, at + 860), gpu=(at + 870, at + 875))
    t.kernel(main, "add", launch=(2500, 2510), gpu=(2600, 2610))
    t.kernel(main, "flash_fwd", api=None, gpu=(0, 40), correlation_id=0)
    return t
