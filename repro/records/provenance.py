"""Provenance of a result: code, packages, machine, flags; never secrets.

Only listed environment variables are recorded, and user names, tokens and passwords are removed from the
command line. The git remote, the host name and the user are not recorded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from repro.errors import ReproError
from repro.io.atomic import sha256_file, sha256_text
from repro.io.git import git, is_shallow
from repro.io.redact import redact_command
from repro.records.device import cpu_identity, device_identity, device_name, gpu_driver
from repro.records.network import network_origin, own_code
from repro.records.source_diff import shortened, source_changes

SECONDS = 60.0  # timeout of git
_NONE: Mapping[str, Any] = MappingProxyType({})
PACKAGES = (
    *("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "scipy"),
    *("safetensors", "pydantic", "mlflow", "dvc"),
)
ENVIRONMENT = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_PROC_BIND", "KMP_AFFINITY", "ONEDNN_MAX_CPU_ISA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "WORLD_SIZE"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF"),
    *("PYTORCH_ALLOC_CONF", "PYTHONHASHSEED", "SLURM_JOB_ID"),
    *("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"),
)


def collect(
    root: Path,
    *,
    device: str | None = None,
    command: Sequence[str] | None = None,
    params: Mapping[str, Any] = _NONE,
) -> dict[str, Any]:
    """Return the provenance of a result computed now in the checkout at `root`.

    Args:
        root: The project root.
        device: "cpu", "cuda:0", ...: adds the identity of the device, which imports torch.
        command: The command line; default: that of this process.
        params: The resolved experiment: adds the package of a network by reference, and the project's own
            code to the recorded difference.
    """
    origin = network_origin(params.get("model"))
    return {
        "at": timestamp(),
        "git": git_state(root, own_code(params)),
        "command": redact_command(sys.argv if command is None else command),
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages(),
        "requirements_lock": _hash(root / "requirements.lock"),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "device": device_identity(device) if device else cpu_identity(),
        "driver": gpu_driver(),
        **({"network": origin} if origin else {}),
    }


def timestamp(seconds: float | None = None) -> str:
    """Return seconds since 1970, default: now, as UTC time: 2026-11-20T05:19:06Z."""
    at = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def git_state(root: Path, code: Collection[str] = ()) -> dict[str, Any]:
    """Return the commit, whether source files differ from it, and the sha256 of the stored diff.

    Optional keys: `not_kept` lists changed files that are not in the diff, `masked` those with redacted
    credentials, `unknown` is the reason if git failed, `shallow` marks a shallow clone.
    """
    try:
        commit = git(root, "rev-parse", "HEAD", timeout=SECONDS).decode().strip()
    except ReproError as error:
        return {"commit": None, "dirty": None, "diff_sha256": None, "unknown": _why(error, root)}
    shallow = {"shallow": True} if is_shallow(root) else {}
    try:
        changes = source_changes(root, code)
    except ReproError as error:
        return {"commit": commit, "dirty": None, "diff_sha256": None, "unknown": _why(error, root), **shallow}
    named = {"not_kept": shortened(changes.left_out), "masked": shortened(changes.masked)}
    return {
        "commit": commit,
        "dirty": bool(changes.patch or changes.left_out),
        "diff_sha256": hashlib.sha256(changes.patch).hexdigest() if changes.patch else None,
        **{key: names for key, names in named.items() if names},
        **shallow,
    }


def _why(error: ReproError, root: Path) -> str:
    """The error without the path of the checkout, which often contains a user name."""
    return error.what.replace(str(root), ".")


def packages() -> dict[str, dict[str, str | None]]:
    """Return version and installation hash (sha256 of pip's RECORD, 16 digits) of relevant packages."""
    found: dict[str, dict[str, str | None]] = {}
    for name in PACKAGES:
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        files = installed.read_text("RECORD")
        found[name] = {"version": installed.version, "files": sha256_text(files)[:16] if files else None}
    return found


def lock_hashes(root: Path, name: str) -> dict[str, str]:
    """Return the sha256 of the files that pin inputs and outputs of experiment `name`."""
    locks = (f"experiments/{name}/dvc.lock", f"experiments/{name}/params.yaml", "params.yaml")
    return {lock: digest for lock in locks if (digest := _hash(root / lock))}


def _hash(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def made_on(provenance: Mapping[str, Any], precision: str) -> dict[str, str]:
    """Where a result was measured: the device of its training, else of its evaluation, and torch there.

    The keys are those of `expect:` in params.yaml; "" for what is not known.
    """
    training = provenance.get("training")
    source = training if isinstance(training, Mapping) and training.get("device") else provenance
    device, packages = (_mapping(source.get(key)) for key in ("device", "packages"))
    version = str(device.get("torch") or _mapping(packages.get("torch")).get("version") or "")
    minor = ".".join(version.split(".")[:2])
    return {"device": device_name(device), "torch": minor, "precision": precision}


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}
