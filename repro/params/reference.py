"""Parameters of a network by reference: a function or class, of any package, that returns a torch module."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from repro.params.model import InputParams, ModelParams, PartNames
from repro.params.parse import Count, ResizeRule, parse

FORM = "MODULE:NAME of a function or class, e.g. torchvision.models.segmentation:lraspp_mobilenet_v3_large"
_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def _reference(text: str) -> str:
    if not _FORM.fullmatch(text):
        raise PydanticCustomError("reference", FORM)
    return text


@dataclass(frozen=True, kw_only=True)
class ReferenceModel:
    """A network that a zoo names: `build` is called with `args` and returns an `nn.Module`.

    The module takes normalised float images (N, 3, H, W). It returns logits (N, classes, h, w) of any size, a
    tuple or list of them, of which the first is the prediction and the others are auxiliary, or a mapping
    with the key `out` and perhaps `aux`.

    build: MODULE:NAME. The module is installed, or a file of the project.
    args: keyword arguments of every call.
    pretrained_args: added to `args` where a training starts, e.g. {weights_backbone: DEFAULT}.
    input: normalisation of the images.
    resize: the rule by which logits are resized to the image.
    size_divisor: images are padded at the bottom and right to a multiple of it, for evaluation and
        prediction; the training crop must be one.
    parts: which parameters `lr_backbone`, gradient multipliers and frozen norms concern.
    sources: sha256 of the project's files that define the network; computed, not written in params.yaml.
    """

    build: Annotated[str, AfterValidator(_reference)]
    args: Mapping[str, Any] = field(default_factory=dict)
    pretrained_args: Mapping[str, Any] = field(default_factory=dict)
    input: InputParams = field(default_factory=InputParams)
    resize: ResizeRule = "half_pixel"
    size_divisor: Count = 1
    parts: PartNames = field(default_factory=PartNames)
    sources: Mapping[str, str] = field(default_factory=dict)

    pretrained: ClassVar[None] = None  # weights that the harness loads into a backbone of ours

    def __post_init__(self) -> None:
        """Raise ValueError for arguments that JSON cannot hold; `parse` converts it to a ParamsError."""
        try:
            json.dumps([self.args, self.pretrained_args], allow_nan=False)
        except ValueError:
            raise ValueError("finite numbers in args and pretrained_args") from None

    def __hash__(self) -> int:
        return hash(json.dumps(asdict(self), sort_keys=True))

    @property
    def module(self) -> str:
        """Dotted name of the module that defines the network."""
        return self.build.partition(":")[0]

    @property
    def summary(self) -> str:
        """The network in one line."""
        given = ", ".join(f"{name}={value!r}" for name, value in self.args.items())
        return f"{self.build}({given}), resize {self.resize}"


NetworkParams = ModelParams | ReferenceModel


def network_kind(raw: object) -> str:
    """Name of the class that a `model:` block describes; the key `build` decides."""
    by_reference = isinstance(raw, ReferenceModel) or (isinstance(raw, Mapping) and "build" in raw)
    return "ReferenceModel" if by_reference else "ModelParams"


def parse_network(raw: Mapping[str, Any], where: object) -> NetworkParams:
    """Parse a complete `model:` block, as `to_plain` wrote it. Raises ParamsError."""
    if network_kind(raw) == "ReferenceModel":
        return parse(ReferenceModel, raw, where)
    return parse(ModelParams, raw, where)
