"""A run on a GPU that is not there: shapes on the meta device, kernels by PyTorch's names, times from a roofline.

The command is `annotate.simulate`; the model of time is in `annotate.simulation.timeline`.
"""
