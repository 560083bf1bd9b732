"""Attribute GPU operations to the NVTX ranges that launched them."""
