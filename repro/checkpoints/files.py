"""Read and write safetensors files of our weights; writes are atomic, reads strict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from repro.errors import CheckpointError
from repro.records import write_bytes

State = dict[str, Tensor]


def save_model(path: Path, state_dict: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write `state_dict` and `metadata` to `path` atomically; on failure an existing file is kept."""
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in state_dict.items()}
    write_bytes(path, _ordered(safetensors.torch.save(_unshared(tensors), dict(metadata))))


def load_model(path: Path) -> tuple[State, dict[str, str]]:
    """Read (state_dict on the CPU, metadata) of a file that `save_model` wrote.

    Raises:
        CheckpointError: the file is missing or incomplete.
    """
    if not path.is_file():
        raise CheckpointError("weights are missing", where=path, hint="train first, or convert a checkpoint")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise _incomplete(path, error) from error


def is_safetensors(path: Path) -> bool:
    """Whether `path` is named or starts like a safetensors file: a length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return path.suffix == ".safetensors" or (len(start) == 9 and start[8:] == b"{" and start[6:8] == b"\0\0")


def read_metadata(path: Path) -> dict[str, str]:
    """Read only the metadata of a file that `save_model` wrote."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise _incomplete(path, error) from error


def _incomplete(path: Path, error: Exception) -> CheckpointError:
    what = f"not a complete safetensors file: {error}"
    return CheckpointError(what, where=path, hint="delete it and create it again")


def _ordered(data: bytes) -> bytes:
    """The same file with its metadata in alphabetical order.

    Safetensors writes metadata in the order of a hash map, so equal weights could give different files. The
    header's length may change, since tensor offsets are relative to its end.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[8 + size :]])


def _unshared(tensors: State) -> State:
    """Copies of tensors that share memory, which safetensors refuses."""
    seen: set[int] = set()
    unshared = {}
    for key, tensor in tensors.items():
        pointer = tensor.untyped_storage().data_ptr()
        unshared[key] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return unshared
