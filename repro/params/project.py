"""The project root and the paths below it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import ParamsError
from repro.io.names import plain_path, require_inside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repro.params.bands import Band
    from repro.published import Published

BUILT_IN = "synthetic"  # the data set that `repro data synthetic` generates


@dataclass(frozen=True)
class Project:
    """A project folder: `root` contains params.yaml and experiments/."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def experiments(self) -> Path:
        return self.root / "experiments"

    @cached_property
    def published(self) -> Published:
        """The published pages of the project; none without the folder."""
        from repro.published import Published  # 20 ms that most names of folders need not

        return Published(self.root / "published")

    @cached_property
    def bands(self) -> Mapping[str, Band]:
        """How far a trained network may be from a published number, by data set: `bands:` of params.yaml."""
        from repro.io.yaml_reader import read_yaml
        from repro.params.bands import parse_bands

        return parse_bands(read_yaml(self.params).get("bands"), self.params)

    @property
    def data(self) -> Path:
        """Raw data sets as distributed, one folder or link each; never modified."""
        return self.root / "data"

    @property
    def prepared(self) -> Path:
        """Prepared data, one folder per data set."""
        return self.root / "prepared"

    def experiment_folder(self, name: str) -> Path:
        """Folder with the parameters and results of an experiment."""
        return plain_path(self.experiments, name)

    def params_of(self, name: str) -> Path:
        """The params.yaml of an experiment."""
        return self.experiment_folder(name) / "params.yaml"

    def weights(self, name: str) -> Path:
        """Trained weights of an experiment."""
        return self.experiment_folder(name) / "model.safetensors"

    def prepared_split(self, dataset: str, split: str) -> Path:
        return plain_path(self.prepared, dataset, f"{split}.zip")

    @property
    def rows(self) -> Path:
        """Folder of all records."""
        return self.root / "reports" / "rows"

    @property
    def costs(self) -> Path:
        """The cost of every network: `repro cost --all`."""
        return self.root / "reports" / "cost.json"

    @property
    def link_states(self) -> Path:
        """The states of published links: `repro page links --check --write`."""
        return self.root / "reports" / "links.json"

    def verified(self, experiment: str) -> Path:
        """What `repro verify` last found of the released weights of an experiment."""
        return plain_path(self.root / "reports" / "verified", f"{experiment}.json")

    @property
    def attested_folder(self) -> Path:
        """What `repro page attest --write` keeps."""
        return self.root / "published" / "attested"

    def attested(self, name: str) -> Path:
        """The attestation of an experiment; markdown of the same name lies beside it."""
        return plain_path(self.attested_folder, f"{name}.json")

    def record(self, experiment: str) -> Path:
        return plain_path(self.rows, f"{experiment}.json")

    @property
    def work(self) -> Path:
        """Folder of journals and checkpoints by run key, outside DVC's outputs."""
        return self.root / ".repro" / "work"

    def work_folder(self, run_key: str) -> Path:
        return plain_path(self.work, run_key)

    def journal(self, run_key: str) -> Path:
        return self.work_folder(run_key) / "journal.jsonl"

    def cache_folder(self, kind: str, name: str) -> Path:
        """.repro/<kind>/<name>, a folder that may be deleted. Raises ReproError if links lead out of it."""
        return require_inside(self.root, plain_path(self.root / ".repro", kind, name))


def project_here(start: Path | None = None) -> Project | None:
    """Return the project that contains `start` (default: the working directory), or None."""
    here = (start or Path.cwd()).resolve()
    folders = (here, *here.parents)
    found = (one for one in folders if (one / "params.yaml").is_file() and (one / "experiments").is_dir())
    return next(map(Project, found), None)


def find_project(start: Path | None = None) -> Project:
    """Return the project that contains `start` (default: the working directory), or raise ParamsError."""
    if project := project_here(start):
        return project
    raise ParamsError(
        "not inside a project",
        where=(start or Path.cwd()).resolve(),
        allowed="a folder with params.yaml and experiments/, or one below it",
        hint="cd into the project, or start one: `repro init DIR`",
    )
