"""NVTX ranges around every block of a model. Empty so far: the analysis does not need it."""
