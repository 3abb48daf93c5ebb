"""Load ImageNet weights into a backbone and adapt its first convolution to the input normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from repro.checkpoints import weights_cache
from repro.checkpoints.convert import convert
from repro.checkpoints.files import State
from repro.checkpoints.formats import guess_format
from repro.checkpoints.readers import read_checkpoint
from repro.params.model import InputParams, ModelParams
from repro.records import sha256_file


def pretrained_backbone(params: ModelParams, fresh: Mapping[str, Tensor]) -> tuple[State, str]:
    """Load the weights of `params.pretrained`, with the first convolution adapted to `params.input`.

    Args:
        params: network parameters; `pretrained` must be set.
        fresh: state dict of a randomly initialised network. Entries that the file lacks keep its values; only
            weights of a similar architecture may lack any.

    Returns:
        (the `backbone.` entries, their `pretrained_id`).

    Raises:
        CheckpointError: the weights are missing from the cache or belong to another backbone.
    """
    assert params.pretrained is not None
    path = weights_cache.find(params.pretrained)
    foreign = read_checkpoint(path)
    name = guess_format(foreign, path)
    first = {key: value for key, value in fresh.items() if key.startswith("backbone.")}
    found = first | convert(foreign, fresh, format_name=name, params=params, where=path)
    sha256 = sha256_file(path)
    adapted = adapt_first_conv(found, made_for=weights_cache.made_for(sha256), given=params.input)
    return adapted, _id(sha256, params)


def pretrained_id(params: ModelParams) -> str:
    """Identity of `params.pretrained` in a run key: its sha256, and whether its input is adapted."""
    assert params.pretrained is not None
    return _id(sha256_file(weights_cache.find(params.pretrained)), params)


def _id(sha256: str, params: ModelParams) -> str:
    return sha256 if weights_cache.made_for(sha256) == params.input else f"{sha256} adapted to model.input"


def adapt_first_conv(state: State, *, made_for: InputParams, given: InputParams) -> State:
    """Adapt weights trained with input `made_for` so that input `given` produces the same features.

    With x = (pixel - mean) / std, the kernel's channels are reordered as in `given` and multiplied by
    std_given / std_made; the constant left by the means is added to the convolution's bias or to the running
    mean of the norm after it. The result is equal up to rounding and the border, where zero padding
    represents the mean of `given`. Weights without a 3-channel convolution are returned unchanged.
    """
    name = _first_conv(state)
    if made_for == given or name is None:
        return state
    made_mean, made_std = _in_order(made_for, given.order)
    mean, std = torch.tensor(given.mean).double(), torch.tensor(given.std).double()
    kernel_OIHW = state[f"{name}.weight"].double()
    if made_for.order != given.order:
        kernel_OIHW = kernel_OIHW.flip(1)
    per_channel_OI = kernel_OIHW.sum((2, 3))
    shift_O = per_channel_OI @ ((mean - made_mean) / made_std)
    scaled = kernel_OIHW * (std / made_std).view(1, 3, 1, 1)
    adapted = state | {f"{name}.weight": scaled.to(state[f"{name}.weight"].dtype)}
    place, sign = _constant(state, name)
    if place is not None:
        adapted[place] = (state[place].double() + sign * shift_O).to(state[place].dtype)
    return adapted


def _in_order(made_for: InputParams, order: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of `made_for`, with channels in `order`."""
    values = torch.tensor([made_for.mean, made_for.std]).double()
    mean, std = values if made_for.order == order else values.flip(1)
    return mean, std


def _first_conv(state: State) -> str | None:
    """Name of the convolution with three input channels, which only the stem has."""
    names = (key for key, value in state.items() if key.endswith(".weight") and value.ndim == 4)
    return next((key.removesuffix(".weight") for key in names if state[key].shape[1] == 3), None)


def _constant(state: Iterable[str], name: str) -> tuple[str | None, int]:
    """(entry that can absorb a constant added to the output of convolution `name`, its sign)."""
    keys = list(state)
    if f"{name}.bias" in keys:
        return f"{name}.bias", 1
    behind = keys[keys.index(f"{name}.weight") + 1 :]
    norm = next((key for key in behind if key.endswith(("running_mean", ".weight"))), None)
    following = norm and norm.rpartition(".")[0] + ".running_mean"
    return (following, -1) if following in keys else (None, 1)
