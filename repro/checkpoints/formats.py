"""Third-party checkpoint formats by name: key map, signature keys, concatenation order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from repro.checkpoints import key_maps
from repro.checkpoints.key_maps import TableMaker
from repro.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Format:
    """Naming and layout of one source.

    sign: key prefixes that only files of this format have.
    scope: network, or backbone (an ImageNet classifier, which fills `backbone.` only).
    dropped: prefixes of foreign keys to ignore.
    lacking, unused: regular expressions of our keys that the file does not fill, and of foreign keys that may
        be left over; only for weights of a similar architecture.
    aux: prefix of the foreign keys of the auxiliary head.
    pool_first, low_first: concatenation orders of the source; channels are reordered if ours differ.
    wrap: key of the state dict in the files that we write.
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
        # slim's biases start at 0; slim deeplabv3 initialises what follows stage 3 randomly, too
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
    """Name of the format whose `sign` is among `keys`; CheckpointError if there is none."""
    names = list(keys)
    for name, entry in FORMATS.items():
        if any(key.startswith(entry.sign) for key in names):
            return name
    raise CheckpointError(
        "unknown checkpoint format",
        where=where,
        allowed=", ".join(FORMATS),
        hint=f"its first keys are {', '.join(names[:3])}; --key PREFIX selects one of several networks; a "
        "new format is one table in repro/checkpoints/key_maps.py",
    )
