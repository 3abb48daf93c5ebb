"""The weights that a backbone starts from: an ImageNet classifier of the store, for our names and input."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from repro.checkpoints import store
from repro.checkpoints.convert import convert
from repro.checkpoints.files import State
from repro.checkpoints.first_conv import adapt_first_conv
from repro.checkpoints.foreign import read_checkpoint
from repro.checkpoints.formats import guess_format
from repro.params.model import ModelParams
from repro.records import sha256_file


def pretrained_backbone(params: ModelParams, fresh: Mapping[str, Tensor]) -> tuple[State, str]:
    """(the `backbone.` entries of `fresh` with the values of `params.pretrained`, its `pretrained_id`).

    `fresh` is the state dict of a newly built network; entries that the file lacks, which only a near
    relative may, keep their first values. The first convolution is adapted to `params.input`. Weights that
    are missing in the store, or of another backbone, are a CheckpointError that says what to do.
    """
    assert params.pretrained is not None
    path = store.find(params.pretrained)
    foreign = read_checkpoint(path)
    name = guess_format(foreign, path)
    first = {key: value for key, value in fresh.items() if key.startswith("backbone.")}
    found = first | convert(foreign, fresh, format_name=name, params=params, where=path)
    sha256 = sha256_file(path)
    adapted = adapt_first_conv(found, made_for=store.made_for(sha256), given=params.input)
    return adapted, _id(sha256, params)


def pretrained_id(params: ModelParams) -> str:
    """What `params.pretrained` is in a run key: its file's sha256, and whether its input is adapted."""
    assert params.pretrained is not None
    return _id(sha256_file(store.find(params.pretrained)), params)


def _id(sha256: str, params: ModelParams) -> str:
    return sha256 if store.made_for(sha256) == params.input else f"{sha256} adapted to model.input"
