"""What several models share, and what diffusers and transformers do not have: configurations, tokenizers, pipelines."""
