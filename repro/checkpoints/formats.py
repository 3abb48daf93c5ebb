"""The foreign formats by name: which table, what a file of that format always holds, how it concatenates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from repro.checkpoints import key_maps
from repro.checkpoints.key_maps import TableMaker
from repro.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Format:
    """One source's naming.

    sign: the start of a key that a file of this format has and no other format's file has.
    scope: network, or backbone (an ImageNet classifier: only `backbone.` is filled, `dropped` is left over).
    dropped: starts of foreign keys that have no place here.
    lacking, unused: patterns of our keys that the file does not fill, and of foreign keys that may be left
        over: for weights of a near relative only.
    aux: start of the foreign keys of the auxiliary head.
    pool_first, low_first: the source's own concat orders; where the experiment's network differs the
        channels are moved.
    wrap: the key under which the source keeps its weights, in the files that we write.
    """

    table: TableMaker
    sign: tuple[str, ...]
    scope: str = "network"
    dropped: tuple[str, ...] = ()
    lacking: str | None = None
    unused: str | None = None
    aux: str | None = None
    pool_first: bool = False
    low_first: bool = False
    wrap: str = "state_dict"


FORMATS: dict[str, Format] = {
    "vainf": Format(
        table=key_maps.vainf,
        sign=("classifier.aspp.convs.", "classifier.classifier.0.convs."),
        low_first=True,
        wrap="model_state",
    ),
    "sssegmentation": Format(
        table=key_maps.sssegmentation,
        sign=("aspp_net.bottleneck.",),
        aux="auxiliary_decoder.",
        wrap="model",
    ),
    "sssegmentation-old": Format(
        table=key_maps.sssegmentation_old,
        sign=("aspp_net.fuse_layer.",),
        aux="auxiliary_decoder.",
        wrap="model",
    ),
    "mmsegmentation": Format(
        table=key_maps.mmsegmentation,
        sign=("decode_head.image_pool.",),
        aux="auxiliary_head.",
        pool_first=True,
    ),
    "torchvision": Format(
        table=key_maps.torchvision, sign=("classifier.0.convs.",), aux="aux_classifier.", wrap=""
    ),
    "openmmlab-imagenet": Format(
        table=key_maps.openmmlab_imagenet, sign=("stem.0.",), scope="backbone", dropped=("fc.", "head.fc.")
    ),
    "timm-resnetv2": Format(
        table=key_maps.timm_resnetv2,
        sign=("stages.0.blocks.",),
        scope="backbone",
        dropped=("head.",),
        # slim's biases start at 0; what slim deeplabv3 adds behind stage 3 is new in its own code, too
        lacking=r"conv[13]\.bias|shortcut\.bias|stages\.3\..*(bn3|downsample\.1)\.|stages\.[4-9]",
        unused=r"norm\.|stages\.3\..*norm1\.",
        wrap="",
    ),
    "timm-imagenet": Format(
        table=key_maps.timm_imagenet,
        sign=("conv_stem.", "conv1.0."),
        scope="backbone",
        dropped=("fc.", "conv_head.", "bn2.", "classifier."),
        wrap="",
    ),
    "torchvision-imagenet": Format(
        table=key_maps.torchvision_imagenet,
        sign=("conv1.weight", "features.0.0."),
        scope="backbone",
        dropped=("fc.", "features.18.", "classifier."),
        wrap="",
    ),
}


def guess_format(keys: Iterable[str], where: object) -> str:
    """The name of the format whose sign is among `keys`."""
    names = list(keys)
    for name, entry in FORMATS.items():
        if any(key.startswith(entry.sign) for key in names):
            return name
    raise CheckpointError(
        "the format of this checkpoint is not known",
        where=where,
        allowed=", ".join(FORMATS),
        hint=f"its first keys are {', '.join(names[:3])}; --key PREFIX takes one of several networks, a new "
        "format is one table in repro/checkpoints/key_maps.py",
    )
