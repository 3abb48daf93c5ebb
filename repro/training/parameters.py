"""Which parameter gets which learning rate, weight decay and gradient multiplier, and the optimiser.

Names decide: `backbone.` is the backbone, everything else is the head; the classifiers are the last
convolutions of the heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from repro.errors import ParamsError
from repro.params.training import TrainingParams
from repro.training.ranks import Ranks
from repro.training.schedule import Length, learning_rate, weight_decay

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
KERNELS = (nn.modules.conv._ConvNd, nn.Linear)


def optimizer_for(model: nn.Module, params: TrainingParams) -> torch.optim.Optimizer:
    """SGD or Adam over the groups of `model`; learning rates and decays are set before every update."""
    groups = parameter_groups(model, params)
    device = next(model.parameters()).device.type
    fused = device in ("cpu", "cuda")  # one kernel for all parameters: 5 to 10 times less overhead
    if params.precision == "fp16" and params.optimizer == "sgd":
        # Fused SGD takes an empty momentum buffer for written when the first update overflowed (torch 2.15:
        # _init_group allocates it, the kernel returns before it fills it), and goes on from garbage.
        fused = False
    if params.optimizer == "adam":
        return torch.optim.Adam(groups, lr=params.lr, betas=params.betas, eps=params.eps, fused=fused)
    return torch.optim.SGD(groups, lr=params.lr, momentum=params.momentum, fused=fused)


def parameter_groups(model: nn.Module, params: TrainingParams) -> list[dict[str, Any]]:
    """Parameters that are trained, grouped by (learning rate multiplier, whether they decay)."""
    kernels = {id(module.weight) for module in model.modules() if isinstance(module, KERNELS)}
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            multiplier = params.lr_backbone if name.startswith("backbone.") else params.lr_head
            decays = params.weight_decay_on == "all" or id(parameter) in kernels
            found.setdefault((multiplier, decays), []).append(parameter)
    return [
        {"params": members, "multiplier": multiplier, "decays": decays}
        for (multiplier, decays), members in found.items()
    ]


def set_rates(
    optimizer: torch.optim.Optimizer, params: TrainingParams, *, iteration: int, of: Length, plateau: float
) -> float:
    """Put the values of update `iteration` into every group; returns the learning rate of the head."""
    decay = weight_decay(params, iteration=iteration)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(
            params, iteration=iteration, of=of, multiplier=group["multiplier"], plateau=plateau
        )
        group["weight_decay"] = decay if group["decays"] else 0.0
    return learning_rate(params, iteration=iteration, of=of, multiplier=params.lr_head, plateau=plateau)


def gradient_multipliers(model: nn.Module, params: TrainingParams) -> list[tuple[Tensor, float]]:
    """(parameter, factor) of the classifiers, where the factor is not 1."""
    pairs: list[tuple[Tensor, float]] = []
    for classifier in classifiers(model):
        pairs.append((classifier.weight, params.grad_weight))
        if classifier.bias is not None:
            pairs.append((classifier.bias, params.grad_bias))
    return [(parameter, factor) for parameter, factor in pairs if factor != 1.0]


def scale_gradients(pairs: list[tuple[Tensor, float]]) -> None:
    """Multiply gradients in place, before the optimiser sees them."""
    for parameter, factor in pairs:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def classifiers(model: nn.Module) -> list[nn.Conv2d]:
    """The convolutions that produce class scores: as wide as the last convolution outside the backbone."""
    outside = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and not name.startswith("backbone.")
    ]
    return [module for module in outside if module.out_channels == outside[-1].out_channels]


def prepare_norms(model: nn.Module, params: TrainingParams, *, ranks: Ranks) -> nn.Module:
    """The model with its normalisations as the params want them; call before the optimiser is made.

    With one process `sync` is `local`. SyncBatchNorm exists for GPUs alone.
    """
    if params.norm_affine == "fixed":
        for module in model.modules():
            if isinstance(module, NORMS):
                module.requires_grad_(False)
    if params.batch_norm != "sync" or ranks.world == 1:
        return model
    if ranks.device.type == "cpu":
        raise ParamsError("training.batch_norm sync needs GPUs", allowed="local or frozen on several CPUs")
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    return convert(model)


def training_mode(model: nn.Module, params: TrainingParams) -> None:
    """model.train(), with batch normalisation left on its stored statistics where it is frozen."""
    model.train()
    if params.batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def all_finite(model: nn.Module) -> bool:
    """Whether no weight is NaN or infinite."""
    sums: list[Tensor] = [parameter.detach().float().sum() for parameter in model.parameters()]
    return bool(torch.isfinite(torch.stack(sums)).all())
