"""The weights that a network starts from: an ImageNet backbone out of the store, under our names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from repro.checkpoints import store
from repro.checkpoints.convert import convert
from repro.checkpoints.files import State
from repro.checkpoints.foreign import read_checkpoint
from repro.checkpoints.formats import guess_format
from repro.params.model import ModelParams


def pretrained_state(params: ModelParams, fresh: Mapping[str, Tensor]) -> State:
    """`fresh` (the state dict of a new network) with its backbone replaced by `params.pretrained`.

    The head keeps its first weights. Weights that are missing in the store, or of another backbone, are a
    CheckpointError that says what to do.
    """
    if params.pretrained is None:
        return dict(fresh)
    path = store.find(params.pretrained)
    state = read_checkpoint(path)
    name = guess_format(state, path)
    return dict(fresh) | convert(state, fresh, format_name=name, params=params, where=path)
