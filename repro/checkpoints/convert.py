"""Convert third-party weights to our names and back: each entry is used once, every shape is compared.

`ours` is the state dict of the target network, with values or meta tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from repro.checkpoints.files import State
from repro.checkpoints.formats import FORMATS, Format, guess_format
from repro.checkpoints.key_maps import Table
from repro.errors import CheckpointError, some_of
from repro.params.model import ModelParams
from repro.params.reference import NetworkParams, ReferenceModel


def convert(
    foreign: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    *,
    format_name: str,
    params: ModelParams,
    where: object,
    drop_aux: bool = False,
) -> State:
    """Convert `foreign` to our names.

    Args:
        foreign: state dict in the naming of `format_name`.
        ours: state dict of the target network.
        format_name: key of FORMATS; a format of scope backbone returns `backbone.` keys only.
        params: parameters of the target network.
        where: the file, for error messages.
        drop_aux: ignore the file's auxiliary head.

    Raises:
        CheckpointError: an entry is missing or left over, has another shape, or is not finite.
    """
    entry = FORMATS[format_name]
    wanted = {key: value for key, value in ours.items() if _is_wanted(key, entry)}
    names = rename(wanted, entry.table(params), where)
    kept = {key: value for key, value in foreign.items() if not _is_dropped(key, entry, drop_aux)}
    _check_names(kept, names, entry, where)
    converted = {}
    for key, value in wanted.items():
        tensor = kept.get(names[key], torch.zeros((), dtype=torch.int64))  # a counter that the file lacks
        _check_fits(key, value, names[key], tensor, where)
        converted[key] = tensor.to(value.dtype)
    check_finite(converted, where=where)
    return reorder(converted, params, pool_first=entry.pool_first, low_first=entry.low_first, back=False)


def fit(
    foreign: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    *,
    params: NetworkParams,
    where: object,
    format_name: str | None = None,
    drop_aux: bool = False,
) -> State:
    """Return `foreign` as the state dict of a network: converted, or of a network by reference as it is.

    Args:
        foreign: state dict of a file.
        ours: state dict of the target network.
        params: parameters of the target network.
        where: the file, for error messages.
        format_name: key of FORMATS; None: detected.
        drop_aux: ignore the file's auxiliary head.
    """
    if isinstance(params, ReferenceModel):
        check_same_network(foreign, ours, where=where)
        check_finite(foreign, where=where)
        return {key: foreign[key].to(value.dtype) for key, value in ours.items()}
    name = format_name or guess_format(foreign, where)
    return convert(foreign, ours, format_name=name, params=params, where=where, drop_aux=drop_aux)


def convert_back(
    ours: Mapping[str, Tensor], *, format_name: str, params: NetworkParams, where: object
) -> State:
    """Convert our state dict to the names and channel order of `format_name`."""
    if isinstance(params, ReferenceModel):
        hint = "they have the names of the network's author already"
        raise CheckpointError("weights of a network by reference are not converted", where=where, hint=hint)
    entry = FORMATS[format_name]
    if entry.scope == "backbone":
        networks = ", ".join(name for name, found in FORMATS.items() if found.scope == "network")
        raise CheckpointError(f"cannot write '{format_name}': a format of classifiers", allowed=networks)
    names = rename(ours, entry.table(params), where)
    state = reorder(ours, params, pool_first=entry.pool_first, low_first=entry.low_first, back=True)
    return {names[key]: value for key, value in state.items()}


def check_same_network(
    state: Mapping[str, Tensor], ours: Mapping[str, Tensor], *, where: object, hint: str | None = None
) -> None:
    """Raise CheckpointError unless `state` has the keys, shapes and kinds of `ours`."""
    missing = [key for key in ours if key not in state]
    left = [key for key in state if key not in ours]
    if missing or left:
        found = f"missing {some_of(missing) or 'nothing'}; left over {some_of(left) or 'nothing'}"
        raise CheckpointError(f"weights of another network: {found}", where=where, hint=hint)
    for key, value in ours.items():
        _check_fits(key, value, key, state[key], where)


def check_finite(state: Mapping[str, Tensor], *, where: object, hint: str | None = None) -> None:
    """Raise CheckpointError that names the first entry with NaN or inf."""
    for key, value in state.items():
        if not value.is_meta and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"NaN or inf in '{key}'", where=where, allowed="finite weights", hint=hint)


def rename(keys: Iterable[str], table: Table, where: object) -> dict[str, str]:
    """Map our keys to theirs by the longest prefix in `table`; raises CheckpointError unless injective."""
    prefixes = sorted(table, key=len, reverse=True)
    names = {}
    for key in keys:
        prefix = next((p for p in prefixes if key == p or key.startswith(f"{p}.")), None)
        if prefix is None:
            raise CheckpointError(
                f"the format has no name for '{key}'",
                where=where,
                hint="choose another network or another format",
            )
        names[key] = table[prefix] + key[len(prefix) :]
    if len(set(names.values())) != len(names):
        raise CheckpointError("two entries map to the same name in the format", where=where)
    return names


def reorder(
    state: Mapping[str, Tensor], params: ModelParams, *, pool_first: bool, low_first: bool, back: bool
) -> State:
    """Reorder input channels if the source concatenates in another order than the network of `params`.

    The pooled branch is first in 004 and last elsewhere (recipes 2); low-level features are first in 000
    torch and last elsewhere. `back` reorders from ours to theirs.
    """
    head, moved = params.head, dict(state)
    if head.fuse == "concat" and head.pool != "none" and pool_first != head.pool_first:
        forth = head.channels if head.pool_first else -head.channels  # last -> first is a roll to the right
        _roll(moved, "head.aspp.fuse.conv.weight", -forth if back else forth, dim=1)
    if params.family == "deeplabv3plus" and low_first != head.low_level_first:
        forth = head.low_level if head.low_level_first else -head.low_level
        _roll_decoder(moved, -forth if back else forth)
    return moved


def _roll_decoder(state: State, shift: int) -> None:
    """Roll the channels of the first decoder convolution, plain or separable."""
    _roll(state, "head.decoder.0.conv.weight", shift, dim=1)
    _roll(state, "head.decoder.0.pointwise.conv.weight", shift, dim=1)
    for name in [key for key in state if key.startswith("head.decoder.0.depthwise.")]:
        if state[name].ndim:
            _roll(state, name, shift, dim=0)


def _roll(state: State, key: str, shift: int, *, dim: int) -> None:
    if key in state:
        state[key] = state[key].roll(shift, dims=dim)


def _is_wanted(key: str, entry: Format) -> bool:
    """Whether the file must fill our `key`."""
    lacking = entry.lacking is not None and re.search(entry.lacking, key) is not None
    return (entry.scope == "network" or key.startswith("backbone.")) and not lacking


def _is_dropped(key: str, entry: Format, drop_aux: bool) -> bool:
    return key.startswith(entry.dropped) or (drop_aux and entry.aux is not None and key.startswith(entry.aux))


def _check_names(kept: Mapping[str, Tensor], names: Mapping[str, str], entry: Format, where: object) -> None:
    missing = [key for key in names.values() if key not in kept]
    # Files from before PyTorch 0.4.1 (torchvision's first ResNets) have no counters, and some programs drop
    # them. Norms with a momentum, as all of ours, never read them, so 0 changes nothing.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    used = set(names.values())
    left = [key for key in kept if key not in used and not (entry.unused and re.match(entry.unused, key))]
    if not missing and not left:
        return
    parts = [f"missing {some_of(missing)}" if missing else "", f"left over {some_of(left)}" if left else ""]
    hint = "`model:` describes another network; `repro weights inspect` shows the file's"
    if left and entry.aux and all(key.startswith(entry.aux) for key in left):
        hint = "only an auxiliary head is left over; --drop-aux ignores it"
    raise CheckpointError("; ".join(part for part in parts if part), where=where, hint=hint)


def _check_fits(key: str, value: Tensor, name: str, tensor: Tensor, where: object) -> None:
    """Raise CheckpointError for another shape, or integers in place of weights (quantised, without scale)."""
    hint = "another number of classes, depth or width"
    theirs, ours = f"shape {list(tensor.shape)}", f"{list(value.shape)}"
    if tensor.shape == value.shape:
        if not value.is_floating_point() or tensor.is_floating_point():
            return
        theirs, ours, hint = str(tensor.dtype), str(value.dtype), "weights that are not quantised"
    raise CheckpointError(
        f"the file's '{name}' has {theirs}, the network's '{key}' {ours}", where=where, hint=hint
    )
