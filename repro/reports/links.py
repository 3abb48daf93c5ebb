"""The Download cell of a measured row: made from what exists, never typed.

config: the experiment's params.yaml in git. model: where the DVC remote keeps the weights; git does not hold
them, so without a remote that a browser can open there is no link. log: the learning curve in git.
"""

from __future__ import annotations

from repro.params.project import Project
from repro.records.storage import read_lock, remote_url


def measured_links(project: Project, name: str, *, base: str = "") -> dict[str, str]:
    """Role -> target of an experiment's own files. `base` leads from the page to the project root."""
    folder = f"experiments/{name}"
    found = {}
    if (project.root / folder / "params.yaml").is_file():
        found["config"] = f"{base}{folder}/params.yaml"
    weights = model_location(project, name)
    if weights:
        found["model"] = weights
    if (project.root / folder / "curve.csv").is_file():
        found["log"] = f"{base}{folder}/curve.csv"
    return found


def link_cell(found: dict[str, str], separator: str = " · ") -> str:
    """Markdown links of a role -> target mapping."""
    return separator.join(f"[{role}]({target})" for role, target in found.items())


def model_location(project: Project, name: str) -> str | None:
    """Address of the weights of a locked experiment; None before the first training and without a remote."""
    remote = remote_url(project.root)
    if remote is None:
        return None
    lock = read_lock(project.root / f"experiments/{name}/dvc.lock")
    md5 = lock.outs.get("model.safetensors") if lock else None
    return f"{remote}/files/md5/{md5[:2]}/{md5[2:]}" if md5 else None
