"""Initial weights, as each page's code draws them from PyTorch's global generator (seed it first)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from torch import Tensor, nn

from repro.params.model import Init, ModelParams

# Convolutions that `head.glorot` names; a deeplabv2 head has only classifiers.
GLOROT: dict[str, Callable[[str], bool]] = {
    "pool": lambda name: ".pool." in name,
    "classifier": lambda name: name.endswith(".classifier") or name.startswith("head.branches."),
}
Draw = Callable[[nn.Conv2d, bool], object]  # (convolution, belongs to the backbone)


def initialise(net: nn.Module, params: ModelParams) -> None:
    """Initialise every convolution of `net` in place by `params.init`; norms start at scale 1, shift 0."""
    draw = DRAWS[params.init]
    for name, conv in _convolutions(net):
        draw(conv, name.startswith("backbone."))
    if params.init == "xavier":
        _xavier_linear(net)
    if params.init == "mmsegmentation":
        _mmsegmentation_classifiers(net)
    for name, conv in _convolutions(net):
        if any(GLOROT[part](name) for part in params.head.glorot):
            _xavier(conv, False)
    if params.resnet.zero_init:
        _zero_last_norms(net)


def _convolutions(net: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    return ((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))


def _kaiming(conv: nn.Conv2d, backbone: bool) -> object:
    """000 torch: fan-out in the backbone, fan-in in the head; biases keep PyTorch's default."""
    mode: Literal["fan_out", "fan_in"] = "fan_out" if backbone else "fan_in"
    return nn.init.kaiming_normal_(conv.weight, mode=mode, nonlinearity="relu")


def _mmsegmentation(conv: nn.Conv2d, backbone: bool) -> object:
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return _zero(conv.bias)


def _mmsegmentation_classifiers(net: nn.Module) -> None:
    """conv_seg of 004 starts at N(0, 0.01)."""
    for name, conv in _convolutions(net):
        if name.endswith(".classifier"):
            nn.init.normal_(conv.weight, std=0.01)


def _torch(conv: nn.Conv2d, backbone: bool) -> object:
    """001 and 002: the head keeps PyTorch's uniform default."""
    if backbone:
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return None


def _he(conv: nn.Conv2d, backbone: bool) -> object:
    return _truncated(conv, fan="fan_in")


def _tensorpack(conv: nn.Conv2d, backbone: bool) -> object:
    """003 ResNet: the fan-out default does not apply to dilated convolutions and the classifier."""
    plain = backbone and conv.dilation[0] == 1
    return _truncated(conv, fan="fan_out" if plain else "fan_in")


def _truncated(conv: nn.Conv2d, *, fan: str) -> object:
    """Normal of variance 2 / fan, truncated at two deviations; 0.8796 restores the variance lost by that."""
    outputs, inputs, height, width = conv.weight.shape
    number = (inputs if fan == "fan_in" else outputs) * height * width
    std = (2.0 / number) ** 0.5 / 0.87962566103423978
    nn.init.trunc_normal_(conv.weight, std=std, a=-2 * std, b=2 * std)
    return _zero(conv.bias)


def _xavier(conv: nn.Conv2d, backbone: bool) -> object:
    nn.init.xavier_uniform_(conv.weight)
    return _zero(conv.bias)


def _xavier_linear(net: nn.Module) -> None:
    """The squeeze-and-excitation layers of 003."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def _zero(bias: Tensor | None) -> object:
    return None if bias is None else nn.init.zeros_(bias)


def _zero_last_norms(net: nn.Module) -> None:
    for block in net.modules():
        last = getattr(block, "bn3", None) or getattr(block, "bn2", None)
        if isinstance(last, nn.BatchNorm2d):
            nn.init.zeros_(last.weight)


DRAWS: dict[Init, Draw] = {
    "kaiming": _kaiming,
    "mmsegmentation": _mmsegmentation,
    "torch": _torch,
    "he": _he,
    "tensorpack": _tensorpack,
    "xavier": _xavier,
}
