"""Optimisers and parameter groups: learning rate, weight decay and gradient multiplier per parameter.

`PartNames` says which parameters belong to the backbone; all others belong to the head. In our networks they
are named `backbone.*`, and the classifiers are the last convolutions of the heads. `lr_of` and `grad_of` name
any other parameters by the beginning of their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from repro.errors import ParamsError
from repro.params.model import PartNames, has_prefix
from repro.params.training import TrainingParams
from repro.training.distributed import Ranks
from repro.training.schedule import Length, learning_rate, weight_decay

CONVOLUTIONS = nn.modules.conv._ConvNd
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
OURS = PartNames(classifier=None)
IMAGENET_STAGES = 4  # of a ResNet; 003's noASPP rows append three without pretrained weights


def optimizer_for(model: nn.Module, params: TrainingParams, parts: PartNames = OURS) -> torch.optim.Optimizer:
    """SGD or Adam over the parameter groups of `model`; `set_rates` sets their rates before every update."""
    groups = parameter_groups(model, params, parts)
    device = next(model.parameters()).device.type
    fused = device in ("cpu", "cuda")  # one kernel for all parameters: 5 to 10 times less overhead
    if params.precision == "fp16" and params.optimizer == "sgd":
        # If the first update overflows, fused SGD leaves its momentum buffer uninitialised and then uses it
        # (torch 2.15: _init_group allocates it, the kernel returns before it fills it).
        fused = False
    if params.optimizer == "adam":
        return torch.optim.Adam(groups, lr=params.lr, betas=params.betas, eps=params.eps, fused=fused)
    return torch.optim.SGD(groups, lr=params.lr, momentum=params.momentum, fused=fused)


def parameter_groups(
    model: nn.Module, params: TrainingParams, parts: PartNames = OURS
) -> list[dict[str, Any]]:
    """Trainable parameters, grouped by learning rate multiplier, decay and gradient factor."""
    if params.lr_backbone != params.lr_head:
        names = [name for name, _ in model.named_parameters()]
        require_match(names, parts.backbone, key="model.parts.backbone", needed_by="training.lr_backbone")
    rates = by_name(model, params.lr_of, key="training.lr_of")
    kernels = {id(module.weight) for module in model.modules() if isinstance(module, CONVOLUTIONS)}
    factors = {id(parameter): factor for parameter, factor in gradient_multipliers(model, params, parts)}
    found: dict[tuple[float, bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = params.lr_backbone if has_prefix(name, parts.backbone) else params.lr_head
            multiplier = rates.get(name, part)
            decays = params.weight_decay_on == "all" or id(parameter) in kernels
            factor = factors.get(id(parameter), 1.0)
            found.setdefault((multiplier, decays, factor), []).append(parameter)
    return [
        {"params": members, "multiplier": multiplier, "decays": decays, "factor": factor}
        for (multiplier, decays, factor), members in found.items()
    ]


def set_rates(
    optimizer: torch.optim.Optimizer, params: TrainingParams, *, iteration: int, of: Length, plateau: float
) -> float:
    """Set learning rate, decay and eps of every group for update `iteration`; returns the head's rate."""
    decay = weight_decay(params, iteration=iteration)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(
            params, iteration=iteration, of=of, multiplier=group["multiplier"], plateau=plateau
        )
        group["weight_decay"] = decay * group["factor"] if group["decays"] else 0.0
        if params.eps_rule == "tensorflow":
            group["eps"] = tensorflow_eps(params, iteration=iteration)
    return learning_rate(params, iteration=iteration, of=of, multiplier=params.lr_head, plateau=plateau)


def tensorflow_eps(params: TrainingParams, *, iteration: int) -> float:
    """The eps with which PyTorch's Adam equals TensorFlow's Adam with `params.eps`.

    PyTorch divides by sqrt(v / c) + eps, c = 1 - beta2^t; TensorFlow by (sqrt(v) + eps) / sqrt(c). With page
    003's eps of 2.5e-4 and gradients of 1e-3, PyTorch's first 450 updates would be 1.3 times as large in sum.
    """
    return float(params.eps / math.sqrt(1 - params.betas[1] ** (iteration + 1)))


def gradient_multipliers(
    model: nn.Module, params: TrainingParams, parts: PartNames = OURS
) -> list[tuple[Tensor, float]]:
    """(parameter, factor) of the parameters whose factor is not 1.

    They are those of the convolutions in `params.grad_scope`, and those that `params.grad_of` names.
    """
    named, factors = by_name(model, params.grad_of, key="training.grad_of"), dict[int, float]()
    chosen = classifiers if params.grad_scope == "classifier" else randomly_initialised
    for module in () if params.grad_weight == params.grad_bias == 1.0 else chosen(model, parts):
        factors[id(module.weight)] = params.grad_weight
        factors |= {} if module.bias is None else {id(module.bias): params.grad_bias}
    found = [(one, named.get(name, factors.get(id(one), 1.0))) for name, one in model.named_parameters()]
    return [(parameter, factor) for parameter, factor in found if factor != 1.0]


def by_name(model: nn.Module, multipliers: Mapping[str, float], *, key: str) -> dict[str, float]:
    """Name of a parameter -> multiplier of the first prefix that matches it.

    Raises ParamsError for a prefix in `multipliers`, the value of the key `key`, that matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in multipliers:
        require_match(names, prefix, key=key)
    first = {name: next((p for p in multipliers if has_prefix(name, p)), None) for name in names}
    return {name: multipliers[prefix] for name, prefix in first.items() if prefix is not None}


def scale_gradients(pairs: list[tuple[Tensor, float]]) -> None:
    """Multiply gradients in place."""
    for parameter, factor in pairs:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def check_parts(model: nn.Module, params: TrainingParams, parts: PartNames) -> None:
    """Raise ParamsError for a part that is needed, or given for the norms, and matches nothing in `model`."""
    parameter_groups(model, params, parts)
    if parts.norms:
        norms = [name for name, module in model.named_modules() if isinstance(module, NORMS)]
        key, needed_by = "model.parts.norms", "training.batch_norm or norm_affine"
        require_match(norms, parts.norms, key=key, needed_by=needed_by)


def require_match(names: Iterable[str], prefix: str, *, key: str, needed_by: str = "") -> None:
    """Raise ParamsError unless one of the names starts with `prefix`, the value of `key` in params.yaml."""
    names = list(names)
    if not prefix or not any(has_prefix(name, prefix) for name in names):
        what = f"nothing in the network has a name that begins with '{prefix}'" if prefix else "not given"
        allowed = ", ".join(dict.fromkeys(f"{name.partition('.')[0]}." for name in names))
        why = f", and {needed_by} needs it" if needed_by else ""
        raise ParamsError(f"key '{key}': {what}{why}", allowed=allowed)


def classifiers(model: nn.Module, parts: PartNames = OURS) -> list[nn.Conv2d]:
    """Convolutions that produce class scores."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    if parts.classifier is not None:
        key, needed_by = "model.parts.classifier", "training.grad_weight"
        require_match(found, parts.classifier, key=key, needed_by=needed_by)
        return [module for name, module in found.items() if has_prefix(name, parts.classifier)]
    outside = [module for name, module in found.items() if not has_prefix(name, parts.backbone)]
    return [module for module in outside if module.out_channels == outside[-1].out_channels]


def randomly_initialised(model: nn.Module, parts: PartNames = OURS) -> list[nn.Conv2d]:
    """Convolutions without ImageNet weights: those of heads, and of a fifth and later stages."""
    appended = tuple(f"backbone.stages.{number}." for number in range(IMAGENET_STAGES, 10))
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
        and (not has_prefix(name, parts.backbone) or name.startswith(appended))
    ]


def prepare_norms(
    model: nn.Module, params: TrainingParams, *, ranks: Ranks, parts: PartNames = OURS
) -> nn.Module:
    """Apply `norm_affine` and `batch_norm` of `params` to the model; call before creating the optimiser.

    With one process, `sync` equals `local`. SyncBatchNorm needs GPUs.
    """
    if params.norm_affine == "fixed":
        for name, module in model.named_modules():
            if isinstance(module, NORMS) and has_prefix(name, parts.norms):
                module.requires_grad_(False)
    if params.batch_norm != "sync" or ranks.world == 1:
        return model
    if ranks.device.type == "cpu":
        raise ParamsError("training.batch_norm sync needs GPUs", allowed="local or frozen on several CPUs")
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    return convert(model)


def training_mode(model: nn.Module, params: TrainingParams, parts: PartNames = OURS) -> None:
    """Call `model.train()`; frozen batch normalisation stays in evaluation mode."""
    model.train()
    if params.batch_norm == "frozen":
        for name, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and has_prefix(name, parts.norms):
                module.eval()


def all_finite(model: nn.Module) -> bool:
    """Whether all weights are finite."""
    sums: list[Tensor] = [parameter.detach().float().sum() for parameter in model.parameters()]
    return bool(torch.isfinite(torch.stack(sums)).all())
