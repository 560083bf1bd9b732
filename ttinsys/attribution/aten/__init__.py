"""What a PyTorch operation is and costs, from its name and the sizes of its arguments.

    cost_of("aten::addmm", [[320], [4096, 640], [640, 320]])     # Cost(role="linear", flops=2 * 4096 * 640 * 320, ...)
    role_of_operation("ConvolutionBackward0")                    # "convolution": sizes tell its axes

The tools that name an operation so: `torch.autograd.profiler.emit_nvtx`, `nsys --pytorch=autograd-shapes-nvtx`, and
PyTorch's profiler. Nothing here imports torch, and nothing knows where a name came from.
"""

from .consumers import convolution_outputs
from .cost import Cost
from .costs import cost_of, operation_costs
from .geometry import Surroundings, attention_roles
from .names import is_backward, operation_name, role_of_operation
from .spelt import linear_attention, spelt_attention
from .surroundings import surroundings

__all__ = [
    "Cost",
    "Surroundings",
    "attention_roles",
    "convolution_outputs",
    "cost_of",
    "is_backward",
    "linear_attention",
    "operation_costs",
    "operation_name",
    "role_of_operation",
    "spelt_attention",
    "surroundings",
]
