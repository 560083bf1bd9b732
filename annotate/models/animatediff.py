"""AnimateDiff: Stable Diffusion 1.5 whose U-Net has a motion module, attention over frames, after every block."""

from __future__ import annotations

from . import stable_diffusion
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

FULL = {
    "unet": Part(
        "diffusers.UNetMotionModel",
        {
            "sample_size": 64,
            "cross_attention_dim": 768,
            "num_attention_heads": 8,
            "motion_num_attention_heads": 8,
            "motion_max_seq_length": 32,
            "use_motion_mid_block": True,
        },
    ),
    "vae": stable_diffusion.FULL["vae"],
    "text_encoder": stable_diffusion.FULL["text_encoder"],
    "tokenizer": stable_diffusion.FULL["tokenizer"],
    "scheduler": Part(
        "diffusers.DDIMScheduler",
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "linear",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "steps_offset": 1,
            "timestep_spacing": "linspace",
        },
    ),
}

TINY = {
    "unet": FULL["unet"].but(
        sample_size=16,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=24,
        num_attention_heads=2,
        motion_num_attention_heads=2,
    ),
    "vae": stable_diffusion.TINY["vae"],
    "text_encoder": stable_diffusion.TINY["text_encoder"],
    "tokenizer": stable_diffusion.TINY["tokenizer"],
    "scheduler": FULL["scheduler"],
}


MODELS = (
    Model(
        name="animatediff",
        title="AnimateDiff v1.5-2",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.AnimateDiffPipeline", motion_adapter=None),
        generate=run_pipeline,
        requests={
            "full": Request(steps=25, height=512, width=512, frames=16),
            "tiny": Request(steps=2, height=128, width=128, frames=6),
        },
        parameters={"unet": 1_312_730_244, "vae": 83_653_863, "text_encoder": 123_060_480},
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 42,
                "temporal_attention": 104,
                "cross_attention": 40,
                "self_attention": 8,
                "spatial_conv": 97,
                "pointwise_conv": 59,
                "linear": 572,
                "group_norm": 126,
                "layer_norm": 148,
                "activation": 159,
                "embedding": 62,
                "resample": 15,
                "scheduler": 2,
                "other": 224,
            },
            lengths={
                *(("spatial_attention", n, n) for n in (4, 16, 64, 256)),
                *(("cross_attention", n, 13) for n in (4, 16, 64, 256)),
                ("temporal_attention", 6, 6),  # frames
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://huggingface.co/guoyww/animatediff-motion-adapter-v1-5-2",
        note="The motion adapter's modules are part of the U-Net, where the pipeline copies them in any case. "
        "They have positions for 32 frames, no more.",
        pretrained="diffusers.AnimateDiffPipeline",
    ),
)
