"""ImageNet weights of torchvision's registry, for the backbones that we build with its layout.

`model: {pretrained: ResNet50_Weights.IMAGENET1K_V2}` names an entry as torchvision does. Importing
torchvision takes longer than importing torch: only what asks the registry does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from repro.errors import UnknownNameError
from repro.params.model import InputParams
from repro.published.sources import hash_in_name

BUILDERS = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "mobilenet_v2": "mobilenetv2",
}
_PART = "_Weights."  # of every name in the registry


@dataclass(frozen=True, kw_only=True)
class RegistryWeights:
    """An entry of the registry.

    Attributes:
        name: as torchvision spells it, e.g. ResNet50_Weights.IMAGENET1K_V2.
        backbone: our name of the network.
        sha256: the first eight digits, which its publisher puts into the file's name.
        input: normalisation, in 0..255 units, that the network was trained with.
        accuracy: top-1 on ImageNet, percent.
        size_mb: of the file, MB.
        resize: shorter side, and crop: side of the centre, that the accuracy was measured with.
        recipe: address of how it was trained.
    """

    name: str
    backbone: str
    url: str
    sha256: str
    input: InputParams
    accuracy: float
    size_mb: float
    resize: int
    crop: int
    recipe: str


def is_registry_name(name: str) -> bool:
    """Whether `name` is spelt like one of the registry; nothing is imported."""
    return _PART in name


def registry() -> Iterator[RegistryWeights]:
    """Every entry for a backbone of ours."""
    from torchvision.models import get_model_weights

    for builder in BUILDERS:
        for weights in get_model_weights(builder):
            yield _entry(builder, weights)


def registry_weights(name: str) -> RegistryWeights:
    """The entry of that name; UnknownNameError where there is none, or none for a backbone of ours."""
    known = {entry.name: entry for entry in registry()}
    if name not in known:
        raise UnknownNameError("weights", name, known, hint="`repro weights list --torchvision` shows all")
    return known[name]


def _entry(builder: str, weights: Any) -> RegistryWeights:
    preset, meta = weights.transforms(), weights.meta
    mean, std = (tuple(round(255 * value, 6) for value in values) for values in (preset.mean, preset.std))
    return RegistryWeights(
        name=str(weights),
        backbone=BUILDERS[builder],
        url=weights.url,
        sha256=hash_in_name(weights.url) or "",
        input=InputParams(mean=mean, std=std),
        accuracy=meta["_metrics"]["ImageNet-1K"]["acc@1"],
        size_mb=meta["_file_size"],
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        recipe=meta["recipe"],
    )
