"""Detect the type of a checkpoint file from its first bytes, and check that its entries can be weights."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.checkpoints.files import is_safetensors
from repro.errors import CheckpointError

FILES = "a file written by torch.save (.pth, .pt, .ckpt), or .safetensors"
_STATE = "in the program that wrote it: torch.save(model.state_dict(), FILE)"
_SCRIPT = (
    "in Python: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE), if you trust the publisher of FILE"
)
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled number that begins files of torch.save before 1.6
_BEFORE = 11  # bytes that may precede it: protocol and frame


def require_checkpoint(path: Path) -> None:
    """Raise CheckpointError unless `path` starts like a file of torch.save (zip or legacy) or safetensors."""
    with path.open("rb") as file:
        start = file.read(2)
    if not start or is_safetensors(path):
        return
    if start == b"PK":
        _require_torch_archive(path)
    elif start[:1] != b"\x80":
        raise _refused("not a checkpoint: neither a PyTorch nor a safetensors file", path)


def damaged(path: Path, error: Exception) -> CheckpointError:
    """The error for a file that starts like one of torch.save but cannot be read completely."""
    with path.open("rb") as file:
        start = file.read(_BEFORE + len(_MAGIC))
    if start[:1] == b"\x80" and len(start) == _BEFORE + len(_MAGIC) and _MAGIC not in start:
        return _refused("a pickle that torch.save did not write", path)
    first = (str(error).splitlines() or ["end of file"])[0].partition(". ")[0][:200]
    what = f"not a complete PyTorch file: {first or type(error).__name__}"
    return CheckpointError(what, where=path, hint="download it again and compare its sha256")


def _require_torch_archive(path: Path) -> None:
    """Raise CheckpointError for a zip of something else; a truncated zip is left to the reader's error."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return
    names = {member.rpartition("/")[2] for member in members}
    if "constants.pkl" in names:
        raise _refused("a TorchScript program, not weights", path, _SCRIPT)
    if "data.pkl" not in names:
        raise _refused(f"a zip that torch.save did not write, with {', '.join(members[:3])}", path)


def _refused(what: str, path: Path, hint: str = _STATE) -> CheckpointError:
    return CheckpointError(what, where=path, allowed=FILES, hint=hint)


def require_tensors(found: Mapping[Any, Any], path: Path) -> None:
    """Raise CheckpointError that names the first entry of `found` that cannot be a weight."""
    for name, it in found.items():
        if not (isinstance(name, str) and isinstance(it, Tensor)):
            raise CheckpointError(f"'{name}' is not a tensor", where=path, allowed="names and tensors only")
        if kind := _unsupported_kind(it):
            allowed = "dense tensors of 16, 32 or 64 bits, and integers"
            raise CheckpointError(f"'{name}' is a {kind} tensor", where=path, allowed=allowed, hint=_STATE)


def _unsupported_kind(tensor: Tensor) -> str | None:
    """Name of a kind of tensor that a cast would silently strip of scales or imaginary parts, or None."""
    if tensor.is_meta:
        return "meta (without values)"
    if tensor.is_quantized:
        return f"quantised ({_short(tensor)})"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    return _short(tensor) if tensor.is_complex() or "float8" in str(tensor.dtype) else None


def _short(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
