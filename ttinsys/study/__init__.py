"""The study reproduced: every figure and table that a folder of captures has the data for, beside what was published.

The study is *Generative AI Beyond LLMs: System Implications of Multi-Modal Generation* (arXiv 2312.14385v2).
"""
