"""Read third-party checkpoint files safely, unwrap their state dicts and identify their format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from repro.checkpoints.contents import require_tensors
from repro.checkpoints.files import State, is_safetensors, load_model, read_metadata
from repro.checkpoints.formats import FORMATS, guess_format
from repro.checkpoints.unpickle import read_pickle
from repro.errors import CheckpointError, UnknownNameError, some_of
from repro.records import sha256_file

OURS = "ours"
OWN_NAMES = "own"  # those of a network by reference
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")  # DataParallel, torch.compile, Lightning
COUNTERS = ("total_ops", "total_params", "n_averaged", "steps")  # of thop, and of torch's and MMEngine's EMA
CONVERTED = {"float16", "bfloat16", "float64"}
MANY = 20  # most names in a message


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state dict of a file, and remarks for the user."""

    state: State
    remarks: tuple[str, ...] = ()


def read_checkpoint(path: Path, *, key: str | None = None) -> State:
    """The state dict of `open_checkpoint`."""
    return open_checkpoint(path, key=key).state


def open_checkpoint(path: Path, *, key: str | None = None) -> Checkpoint:
    """Read the weights in `path`, a safetensors file or a PyTorch pickle, without running code from it.

    Args:
        path: the file.
        key: selects one of several networks in the file: `model_ema`, `teacher.state_dict` for a nested one,
            `student` for the names with prefix `student.`.

    Raises:
        CheckpointError: the file is truncated, has no weights, or has several networks and `key` is None.

    Example: open_checkpoint(Path("best.pth")).state["backbone.conv1.weight"]
    """
    if not path.is_file():
        what = "a folder, not a checkpoint" if path.is_dir() else "checkpoint is missing"
        raise CheckpointError(what, where=path, hint="`repro weights list` lists the local weights")
    loaded, skipped = (load_model(path)[0], ()) if is_safetensors(path) else read_pickle(path)
    names = some_of(skipped, MANY)
    remarks = (f"skipped non-tensor objects: {names}",) if skipped else ()
    found = _select(_networks(loaded), key, path, names)
    require_tensors(found, path)
    state, more = _cleaned(found)
    return Checkpoint(state=state, remarks=remarks + more)


def _networks(loaded: Any, at: str = "", depth: int = 4) -> dict[str, Mapping[Any, Any]]:
    """Key -> state dict of every network in a file; the key "" is the file itself."""
    if not isinstance(loaded, Mapping):
        return {}
    inner: dict[str, Mapping[Any, Any]] = {}
    for name, value in loaded.items() if depth else ():
        inner |= _networks(value, f"{at}.{name}" if at else str(name), depth - 1)
    own = {at: loaded} if any(isinstance(value, Tensor) for value in loaded.values()) else {}
    return inner or own


def _select(
    networks: Mapping[str, Mapping[Any, Any]], key: str | None, path: Path, skipped: str
) -> Mapping[Any, Any]:
    """The only network, or that of `key`; mappings without a `weight` (a loss scale) do not count."""
    if key is not None and key not in networks:
        if part := _part(networks, key):
            return part
        raise UnknownNameError("key with weights", key, networks, where=path)
    if not networks:
        hint = "if a whole module was saved, save `model.state_dict()` instead"
        allowed = "a state dict, at the top level or under any key"
        what = "no weights inside" + (f", but unsupported objects: {skipped}" if skipped else "")
        raise CheckpointError(what, where=path, allowed=allowed, hint=hint)
    weighty = [name for name, found in networks.items() if any(str(it).endswith("weight") for it in found)]
    names = [key] if key is not None else weighty or list(networks)
    if len(names) > 1:
        what, allowed = f"{len(names)} networks in one file", ", ".join(names)
        raise CheckpointError(what, where=path, allowed=allowed, hint=f"select one: --key {names[0]}")
    return networks[names[0]]


def _part(networks: Mapping[str, Mapping[Any, Any]], key: str) -> Mapping[Any, Any] | None:
    """Entries with the prefix `key` (`student.`, `ema_model.`), if exactly one network has any."""
    start = f"{key}."
    parts = [
        {str(name).removeprefix(start): it for name, it in found.items() if str(name).startswith(start)}
        for found in networks.values()
    ]
    full = [part for part in parts if part]
    return full[0] if len(full) == 1 else None


def _cleaned(found: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """(`found` without counters and without prefixes common to all names, remarks)."""
    kept = {name: value for name, value in found.items() if name.rpartition(".")[2] not in COUNTERS}
    dropped, cut = len(found) - len(kept), ""
    while prefix := next((one for one in PREFIXES if kept and all(n.startswith(one) for n in kept)), ""):
        kept, cut = {name.removeprefix(prefix): value for name, value in kept.items()}, cut + prefix
    others = sorted({str(it.dtype).removeprefix("torch.") for it in kept.values()} & CONVERTED)
    remarks = [f"dropped {dropped} counters of a profiler or weight averaging"] if dropped else []
    remarks += [f"removed the prefix '{cut}' from every name"] if cut else []
    return kept, (*remarks, *(f"stored as {name}" for name in others))


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Description of a checkpoint file; `network` is derived from its keys."""

    format: str
    scope: str
    network: str
    classes: int | None
    entries: int
    parameters: int
    auxiliary: bool
    sha256: str
    remarks: tuple[str, ...] = ()


def inspect(path: Path, *, key: str | None = None, any_format: bool = False) -> Inspection:
    """Read and describe `path`.

    Args:
        path: The file.
        key: Selects one of several networks.
        any_format: Describe a file of an unknown format too, such as that of a network by reference.

    Raises:
        CheckpointError: It is not a checkpoint, or of an unknown format.
    """
    found = open_checkpoint(path, key=key)
    state = found.state
    if any_format:
        return Inspection(
            format=OWN_NAMES,
            scope="network",
            network="with the names of its author",
            classes=None,
            entries=len(state),
            parameters=_parameters(state),
            auxiliary=False,
            sha256=sha256_file(path),
            remarks=found.remarks,
        )
    if is_safetensors(path) and "experiment" in (note := read_metadata(path)):
        return _inspect_own(path, state, note)
    name = guess_format(state, path)
    entry = FORMATS[name]
    aux = entry.aux
    return Inspection(
        format=name,
        scope=entry.scope,
        network=_network(state, name),
        classes=_classes(state) if entry.scope == "network" else None,
        entries=len(state),
        parameters=_parameters(state),
        auxiliary=aux is not None and any(key.startswith(aux) for key in state),
        sha256=sha256_file(path),
        remarks=found.remarks,
    )


def _inspect_own(path: Path, state: State, note: Mapping[str, str]) -> Inspection:
    """Describe a file that `save_model` wrote for an experiment."""
    made = f"run {note['run_key']}" if "run_key" in note else f"from {note.get('source', 'elsewhere')}"
    classifier = state.get("head.classifier.weight")
    return Inspection(
        format=OURS,
        scope="network",
        network=f"weights of the experiment {note['experiment']}, {made}",
        classes=None if classifier is None else classifier.shape[0],
        entries=len(state),
        parameters=_parameters(state),
        auxiliary=any(key.startswith("aux") for key in state),
        sha256=sha256_file(path),
    )


def _parameters(state: State) -> int:
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(tensor.numel() for key, tensor in state.items() if not key.endswith(statistics))


def _network(state: Mapping[str, Tensor], format_name: str) -> str:
    """Name of the network derived from its keys, such as 'DeepLabV3+ R-50, deep stem'."""
    backbone = _backbone(state)
    if FORMATS[format_name].scope == "backbone":
        return f"{backbone} (ImageNet classifier)"
    plus = any(key.startswith(PLUS_SIGNS) for key in state)
    separable = any("depthwise_conv" in key for key in state)
    return f"DeepLabV3{'+' if plus else ''} {backbone}{', separable' if separable else ''}"


PLUS_SIGNS = ("classifier.project.", "shortcut.", "decode_head.c1_bottleneck.")


def _backbone(state: Mapping[str, Tensor]) -> str:
    names = " ".join(state)
    if "low_level_features." in names or "features.18." in names or "conv_stem." in names:
        return "MobileNetV2"
    stem = "deep stem" if "stem.0." in names or "conv1.0." in names else "7x7 stem"
    if "layer3.22." in names:
        return f"R-101, {stem}"
    return f"R-50, {stem}" if "layer1.0.conv3." in names else f"R-18, {stem}"


CLASSIFIERS = (
    "decode_head.conv_seg.weight",
    "classifier.classifier.3.weight",
    "classifier.classifier.4.weight",
    "classifier.4.weight",
    "decoder.3.weight",
    "decoder.1.weight",
)


def _classes(state: Mapping[str, Tensor]) -> int | None:
    found = [state[key].shape[0] for key in CLASSIFIERS if key in state and state[key].ndim == 4]
    return found[0] if found else None
