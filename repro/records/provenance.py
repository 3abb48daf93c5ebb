"""Where a result comes from: code, packages, machine, flags. Never secrets.

Environment variables are taken from a list of names that cannot hold one, and user names, tokens and
passwords are cut out of the command line. The git remote, the host name and the user are not recorded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.records.device import cpu_identity, device_identity, gpu_driver
from repro.records.files import sha256_file, sha256_text
from repro.records.git import run_git
from repro.records.secrets import is_secret_file, scrub

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
# What the pipeline itself writes: it differs from HEAD in every `dvc repro` and says nothing of the code.
WRITTEN = (
    *("reports/**", "README.md", "dvc.lock", "experiments/*/dvc.lock", "experiments/*/*.json"),
    *("experiments/*/*.csv", "experiments/*/overlays/**", "experiments/*/also/**"),
)
DIFF = "source.diff"  # the artifact that holds the difference of the code, and the file beside the journal


def collect(root: Path, *, device: str | None = None, command: Sequence[str] | None = None) -> dict[str, Any]:
    """Provenance of a result made now by the checkout at `root`.

    `device` ("cpu", "cuda:0") adds the identity of the device, which imports torch.
    """
    return {
        "at": timestamp(),
        "git": git_state(root),
        "command": scrub(sys.argv if command is None else command),
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages(),
        "requirements_lock": _hash(root / "requirements.lock"),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "device": device_identity(device) if device else cpu_identity(),
        "driver": gpu_driver(),
    }


def timestamp() -> str:
    """Now, in UTC, to the second: 2026-11-20T05:19:06Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def git_state(root: Path) -> dict[str, Any]:
    """Commit, whether hand-written files differ from it, and the sha256 of the difference."""
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return {"commit": None, "dirty": None, "diff_sha256": None}
    diff = source_diff(root)
    digest = hashlib.sha256(diff).hexdigest() if diff else None
    return {"commit": commit.decode().strip(), "dirty": bool(diff), "diff_sha256": digest}


def source_diff(root: Path) -> bytes:
    """Changes of hand-written files against HEAD as a patch for `git apply`; empty without any.

    New files that git does not ignore are in it too: a module that was never added can change a number.
    Files whose names say that they hold secrets are not.
    """
    paths = ["--", ".", *(f":(exclude,glob){pattern}" for pattern in WRITTEN)]
    # A user's own prefixes would make a patch that `git apply` does not take.
    plain = ["--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/"]
    new = _names(_git(root, "ls-files", "--others", "--exclude-standard", "-z", *paths))
    added = [
        _git(root, "diff", *plain, "--no-index", "--", "/dev/null", name)
        for name in new
        if not is_secret_file(name)
    ]
    changed = _names(_git(root, "diff", "HEAD", "--name-only", "-z", *paths))
    hidden = [f":(top,exclude,literal){name}" for name in changed if is_secret_file(name)]
    return b"".join([_git(root, "diff", "HEAD", *plain, *paths, *hidden), *added])


def _names(listed: bytes) -> list[str]:
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def packages() -> dict[str, dict[str, str | None]]:
    """Version and installation hash (sha256 of pip's RECORD, 16 digits) of what can move a number."""
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
    """sha256 of the lock files that pin the inputs and outputs of experiment `name`."""
    locks = (f"experiments/{name}/dvc.lock", f"experiments/{name}/params.yaml", "params.yaml")
    return {lock: digest for lock in locks if (digest := _hash(root / lock))}


def _hash(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _git(root: Path, *arguments: str) -> bytes:
    """Output of git; empty where git or a repository is missing. `diff --no-index` exits 1 by design."""
    try:
        done = run_git(root, *arguments, timeout=60)
    except (ReproError, OSError, subprocess.SubprocessError):
        return b""
    return done.stdout if done.returncode == 0 or "--no-index" in arguments else b""
