"""The weights that a backbone starts from: an ImageNet classifier out of the store, under our names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from repro.checkpoints import store
from repro.checkpoints.convert import convert
from repro.checkpoints.files import State
from repro.checkpoints.foreign import read_checkpoint
from repro.checkpoints.formats import guess_format
from repro.params.model import ModelParams
from repro.records import sha256_file


def pretrained_backbone(params: ModelParams, fresh: Mapping[str, Tensor]) -> tuple[State, str]:
    """(the `backbone.` entries of `fresh` with the values of `params.pretrained`, the sha256 of its file).

    `fresh` is the state dict of a newly built network; entries that the file lacks, which only a near
    relative may, keep their first values. Weights that are missing in the store, or of another backbone, are
    a CheckpointError that says what to do.
    """
    assert params.pretrained is not None
    path = store.find(params.pretrained)
    foreign = read_checkpoint(path)
    name = guess_format(foreign, path)
    first = {key: value for key, value in fresh.items() if key.startswith("backbone.")}
    return first | convert(foreign, fresh, format_name=name, params=params, where=path), sha256_file(path)
