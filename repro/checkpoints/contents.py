"""What a checkpoint file is, by its first bytes, and which of its tensors can be weights."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.checkpoints.files import is_safetensors
from repro.errors import CheckpointError

FILES = "a file of torch.save (.pth, .pt, .ckpt) or .safetensors"
_STATE = "in the program that wrote it: torch.save(model.state_dict(), FILE)"
_SCRIPT = (
    "in Python: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE), where FILE is from people you trust"
)
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before 1.6 begins with this number as a pickle
_BEFORE = 11  # bytes that may stand before it: protocol and frame


def require_checkpoint(path: Path) -> None:
    """CheckpointError unless `path` begins as a file of torch.save (zipped or older) or safetensors does."""
    with path.open("rb") as file:
        start = file.read(2)
    if not start or is_safetensors(path):
        return
    if start == b"PK":
        _require_torch_archive(path)
    elif start[:1] != b"\x80":
        raise _refused("not a checkpoint: neither a PyTorch nor a safetensors file", path)


def damaged(path: Path, error: Exception) -> CheckpointError:
    """What to say of a file that begins as one of torch.save and cannot be read to its end."""
    with path.open("rb") as file:
        start = file.read(_BEFORE + len(_MAGIC))
    if start[:1] == b"\x80" and len(start) == _BEFORE + len(_MAGIC) and _MAGIC not in start:
        return _refused("a pickle, but not of torch.save", path)
    first = (str(error).splitlines() or ["end of file"])[0].partition(". ")[0][:200]
    what = f"not a complete PyTorch file: {first or type(error).__name__}"
    return CheckpointError(what, where=path, hint="fetch it again and compare its sha256")


def _require_torch_archive(path: Path) -> None:
    """A zip that is cut short has no list of its members: what reads it says where it ends."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return
    names = {member.rpartition("/")[2] for member in members}
    if "constants.pkl" in names:
        raise _refused("a TorchScript program, not weights", path, _SCRIPT)
    if "data.pkl" not in names:
        raise _refused(f"a zip archive, but not of torch.save: it holds {', '.join(members[:3])}", path)


def _refused(what: str, path: Path, hint: str = _STATE) -> CheckpointError:
    return CheckpointError(what, where=path, allowed=FILES, hint=hint)


def require_tensors(found: Mapping[Any, Any], path: Path) -> None:
    """CheckpointError that names the first entry of `found` that cannot be a weight."""
    for name, it in found.items():
        if not (isinstance(name, str) and isinstance(it, Tensor)):
            raise CheckpointError(f"'{name}' is not a tensor", where=path, allowed="names and tensors only")
        if kind := _odd_kind(it):
            allowed = "dense tensors of 16, 32 or 64 bits, and whole numbers"
            raise CheckpointError(f"'{name}' is a {kind} tensor", where=path, allowed=allowed, hint=_STATE)


def _odd_kind(tensor: Tensor) -> str | None:
    """What no network here can be given: a cast would drop scales or imaginary parts in silence."""
    if tensor.is_meta:
        return "meta (without values)"
    if tensor.is_quantized:
        return f"quantised ({_short(tensor)})"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    return _short(tensor) if tensor.is_complex() or "float8" in str(tensor.dtype) else None


def _short(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
