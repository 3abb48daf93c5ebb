"""Other people's checkpoint files: read safely, unwrapped, told apart."""

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
from repro.errors import CheckpointError, UnknownNameError
from repro.records import sha256_file

OURS = "ours"
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")  # DataParallel, torch.compile, Lightning
COUNTERS = ("total_ops", "total_params", "n_averaged", "steps")  # of thop; of averages of torch and MMEngine
CONVERTED = {"float16", "bfloat16", "float64"}
MANY = 20  # names in a message


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights out of a file, and what a reader of the result should know."""

    state: State
    remarks: tuple[str, ...] = ()


def read_checkpoint(path: Path, *, key: str | None = None) -> State:
    """The weights alone of `open_checkpoint`."""
    return open_checkpoint(path, key=key).state


def open_checkpoint(path: Path, *, key: str | None = None) -> Checkpoint:
    """The weights in `path`: safetensors, or a PyTorch pickle of which nothing is run, unwrapped.

    `key` chooses where several networks are in one file: `model_ema`, `teacher.state_dict` for one inside
    another, `student` where names begin with `student.`. A file cut short, without weights, or with several
    networks and no `key` is a CheckpointError.

    Example: open_checkpoint(Path("best.pth")).state["backbone.conv1.weight"]
    """
    if not path.is_file():
        what = "a folder, not a checkpoint" if path.is_dir() else "checkpoint is missing"
        raise CheckpointError(what, where=path, hint="`repro weights list` shows what is here")
    loaded, skipped = (load_model(path)[0], ()) if is_safetensors(path) else read_pickle(path)
    names = ", ".join(skipped[:MANY]) + (f" and {len(skipped) - MANY} more" if len(skipped) > MANY else "")
    remarks = (f"skipped what is no tensor: {names}",) if skipped else ()
    found = _chosen(_networks(loaded), key, path, names)
    require_tensors(found, path)
    state, more = _cleaned(found)
    return Checkpoint(state=state, remarks=remarks + more)


def _networks(loaded: Any, at: str = "", depth: int = 4) -> dict[str, Mapping[Any, Any]]:
    """Key -> state dict, for every network in a file: the file itself ("") or what its keys hold."""
    if not isinstance(loaded, Mapping):
        return {}
    inner: dict[str, Mapping[Any, Any]] = {}
    for name, value in loaded.items() if depth else ():
        inner |= _networks(value, f"{at}.{name}" if at else str(name), depth - 1)
    own = {at: loaded} if any(isinstance(value, Tensor) for value in loaded.values()) else {}
    return inner or own


def _chosen(
    networks: Mapping[str, Mapping[Any, Any]], key: str | None, path: Path, skipped: str
) -> Mapping[Any, Any]:
    """The one network, or that of `key`. Other mappings of tensors (a loss scale) have no `weight`."""
    if key is not None and key not in networks:
        if part := _part(networks, key):
            return part
        raise UnknownNameError("key with weights", key, networks, where=path)
    if not networks:
        hint = "where a whole module was saved, save `model.state_dict()` instead"
        allowed = "a state dict, bare or under any key"
        what = "no weights inside" + (f", but unsupported objects: {skipped}" if skipped else "")
        raise CheckpointError(what, where=path, allowed=allowed, hint=hint)
    weighty = [name for name, found in networks.items() if any(str(it).endswith("weight") for it in found)]
    names = [key] if key is not None else weighty or list(networks)
    if len(names) > 1:
        what, allowed = f"{len(names)} networks in one file", ", ".join(names)
        raise CheckpointError(what, where=path, allowed=allowed, hint=f"--key {names[0]} chooses one")
    return networks[names[0]]


def _part(networks: Mapping[str, Mapping[Any, Any]], key: str) -> Mapping[Any, Any] | None:
    """The entries under the prefix `key`, where one network alone has some: `student.`, `ema_model.`."""
    start = f"{key}."
    parts = [
        {str(name).removeprefix(start): it for name, it in found.items() if str(name).startswith(start)}
        for found in networks.values()
    ]
    full = [part for part in parts if part]
    return full[0] if len(full) == 1 else None


def _cleaned(found: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """`found` without counters and without what wrappers put before every name; and remarks."""
    kept = {name: value for name, value in found.items() if name.rpartition(".")[2] not in COUNTERS}
    dropped, cut = len(found) - len(kept), ""
    while prefix := next((one for one in PREFIXES if kept and all(n.startswith(one) for n in kept)), ""):
        kept, cut = {name.removeprefix(prefix): value for name, value in kept.items()}, cut + prefix
    others = sorted({str(it.dtype).removeprefix("torch.") for it in kept.values()} & CONVERTED)
    remarks = [f"dropped {dropped} counters of a profiler or an average"] if dropped else []
    remarks += [f"every name began with '{cut}'"] if cut else []
    return kept, (*remarks, *(f"stored as {name}" for name in others))


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a checkpoint file is; `network` is told from its names."""

    format: str
    scope: str
    network: str
    classes: int | None
    entries: int
    parameters: int
    auxiliary: bool
    sha256: str
    remarks: tuple[str, ...] = ()


def inspect(path: Path, *, key: str | None = None) -> Inspection:
    """Read and describe `path`; `key` chooses among several networks in it."""
    found = open_checkpoint(path, key=key)
    state = found.state
    if is_safetensors(path) and "experiment" in (note := read_metadata(path)):
        return _own(path, state, note)
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


def _own(path: Path, state: State, note: Mapping[str, str]) -> Inspection:
    """A file that `save_model` wrote for an experiment."""
    made = f"run {note['run_key']}" if "run_key" in note else f"from {note.get('source', 'elsewhere')}"
    classifier = state.get("head.classifier.weight")
    return Inspection(
        format=OURS,
        scope="network",
        network=f"our own weights of {note['experiment']}, {made}",
        classes=None if classifier is None else classifier.shape[0],
        entries=len(state),
        parameters=_parameters(state),
        auxiliary=any(key.startswith("aux") for key in state),
        sha256=sha256_file(path),
    )


def _parameters(state: State) -> int:
    return sum(tensor.numel() for key, tensor in state.items() if not _is_statistic(key))


def _is_statistic(key: str) -> bool:
    return key.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _network(state: Mapping[str, Tensor], format_name: str) -> str:
    """'DeepLabV3+ R-50, deep stem' and the like, from which names are there."""
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
