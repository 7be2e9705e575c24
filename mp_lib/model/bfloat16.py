"""Large layers with weights in bfloat16: at batch 1 their bytes are what a call of the denoiser waits for.

What a layer takes and gives is float32, so all between the layers is as it was: norms, scans, native loops, and layers
that are too small to gain. A state dict of the policy fits as before and is rounded when it is loaded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mp_lib.model.blocks import Conv1d
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.model.unet import add_taps
from mp_lib.system.code_cache import processor_flags
from mp_lib.system.device import processor_model
from mp_lib.system.errors import InputError

# The shorter side of a weight as a matrix. Products of 16 rows with bfloat16 weights of 512 to 4096 took 1/1.9 to 1/3.8
# of float32's time under AMX and AVX512-BF16 (Intel Xeon, 1 thread), and more than it below 512.
SMALLEST = 512
ONCE = ("cond_encoder", "diffusion_step_encoder")  # what makes the modulation runs once a chunk, or once at all
READ = ("dt_proj", "dt_proj_b", "fc_D")  # layers whose weights the mixers' loops read themselves
FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}  # of processors with instructions for such products; the last is ARM's


def has_bfloat16() -> bool:
    """Whether the processor has products of bfloat16 and this torch a library that uses them."""
    return bool(FLAGS & {*processor_flags().split()}) and torch.backends.mkldnn.is_available()


def check_processor() -> None:
    """Raise an InputError that says what is missing unless ``has_bfloat16``."""
    if not FLAGS & {*processor_flags().split()}:
        model = processor_model() or "unknown"
        found = f"the processor ({model}) has none of {', '.join(sorted(FLAGS))} in /proc/cpuinfo"
    elif not torch.backends.mkldnn.is_available():
        found = "this torch was built without oneDNN, which uses them"
    else:
        return
    raise InputError(f"backend bfloat16 needs products of bfloat16, and {found}; choose torch or onnx")


class BFloat16Linear(nn.Linear):
    """A linear layer that multiplies in bfloat16 and adds its bias in float32."""

    def __init__(self, layer: nn.Linear):
        super().__init__(layer.in_features, layer.out_features, device="meta")
        take_weights(self, layer)

    def forward(self, x: Tensor) -> Tensor:
        return multiply(x, self.weight, self.bias)


class BFloat16Conv1d(Conv1d):
    """A convolution as one product in bfloat16, for any number of steps."""

    def __init__(self, layer: Conv1d):
        sizes = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
        super().__init__(*sizes, device="meta")
        take_weights(self, layer)

    def forward(self, x: Tensor) -> Tensor:
        return multiply(self.windows(x), self.weight.flatten(1), self.bias).transpose(1, 2)


class BFloat16Transposed(nn.ConvTranspose1d):
    """The transposed convolution of ``mp_lib.model.unet.Upsample``, its product in bfloat16."""

    def __init__(self, layer: nn.ConvTranspose1d):
        sizes = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
        super().__init__(*sizes, device="meta")
        take_weights(self, layer)

    def forward(self, x: Tensor) -> Tensor:
        return add_taps(multiply(x.transpose(1, 2), self.weight.flatten(1).T), self.bias)


ROUNDED = {nn.Linear: BFloat16Linear, Conv1d: BFloat16Conv1d, nn.ConvTranspose1d: BFloat16Transposed}


def take_weights(rounded: nn.Module, layer: nn.Module) -> None:
    """Give a layer the weight of another, rounded to bfloat16, and its bias as it is."""
    rounded.weight = nn.Parameter(layer.weight.bfloat16(), requires_grad=False)
    rounded.bias = layer.bias


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (…, I) times a bfloat16 weight (O, I), in float32, plus the bias."""
    product = functional.linear(x.bfloat16(), weight).float()
    return product if bias is None else product + bias


def round_layers(policy: DiffusionPolicy) -> DiffusionPolicy:
    """Replace, in place, the large layers of a policy's denoiser that run at every denoising step; returns it."""
    for name, layer in [*policy.model.named_modules()]:
        left = {*ONCE, *READ} & {*name.split(".")}
        if type(layer) in ROUNDED and not left and min(layer.weight.flatten(1).shape) >= SMALLEST:
            policy.model.set_submodule(name, ROUNDED[type(layer)](layer))
    return policy
