"""Other people's checkpoint files: read safely, unwrapped, told apart."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.checkpoints.files import State, load_model, read_metadata
from repro.checkpoints.formats import FORMATS, guess_format
from repro.errors import CheckpointError
from repro.records import sha256_file

WRAPS = ("state_dict", "model_state", "model", "model_state_dict")  # where sources keep their weights
OURS = "ours"
PARALLEL = "module."  # what nn.DataParallel puts before every name


def read_checkpoint(path: Path) -> State:
    """The weights in `path`: safetensors, or a PyTorch pickle read with `weights_only=True`, unwrapped.

    A pickle that would run code, a file cut short, and a file without weights are each a CheckpointError.
    """
    if path.suffix == ".safetensors":
        return load_model(path)[0]
    if not path.is_file():
        what = "a folder, not a checkpoint" if path.is_dir() else "checkpoint is missing"
        raise CheckpointError(what, where=path, hint="`repro weights list` shows what is here")
    return _unwrap(_load(path), path)


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old pickle protocol; what it cannot read is an error below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unpickling_error(path, error) from None
    except (EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        first = (str(error).splitlines() or ["end of file"])[0].partition(". ")[0]
        raise CheckpointError(
            f"not a complete PyTorch file: {first}", where=path, hint="fetch it again and compare its sha256"
        ) from None


def _unpickling_error(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """A pickle that names something other than tensors, or a damaged one."""
    named = re.search(r"GLOBAL (\S+)", str(error))
    if named or "Unsupported" in str(error):
        thing = named[1] if named else "an unusual instruction"
        return CheckpointError(
            f"this pickle wants to run or build something that is not a tensor: {thing}",
            where=path,
            allowed="tensors, numbers, strings, lists and dicts",
            hint="do not load it; if you trust its source, have them save the state dict alone",
        )
    return CheckpointError(
        "not a complete PyTorch file", where=path, hint="fetch it again and compare its sha256"
    )


def _unwrap(loaded: Any, path: Path) -> State:
    """The mapping of names to tensors inside what a source saved around it."""
    for wrap in WRAPS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrap), Mapping):
            loaded = loaded[wrap]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(
            "no weights inside", where=path, allowed=f"a state dict, bare or under {', '.join(WRAPS)}"
        )
    strange = [
        key for key, value in loaded.items() if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if strange:
        raise CheckpointError(f"'{strange[0]}' is not a tensor", where=path, allowed="names and tensors only")
    return {key.removeprefix(PARALLEL): value for key, value in loaded.items()}


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


def inspect(path: Path) -> Inspection:
    """Read and describe `path`."""
    state = read_checkpoint(path)
    if path.suffix == ".safetensors" and "experiment" in (note := read_metadata(path)):
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
