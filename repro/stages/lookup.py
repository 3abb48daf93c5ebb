"""Look up prepared splits and protocols by name."""

from __future__ import annotations

from repro.datasets.prepare.prepared_split import Split
from repro.errors import ParamsError, UnknownNameError
from repro.params import Experiment, Project, Protocol, TrainedExperiment, parse, read_yaml
from repro.params.experiment import EXTERNAL


def training_split(project: Project, experiment: TrainedExperiment) -> Split:
    """The training split of the experiment; DataError if it is not prepared."""
    require_full_measure(experiment)
    return Split.open(project.prepared_split(experiment.dataset, experiment.training.split))


def open_split(project: Project, experiment: Experiment) -> Split:
    """The evaluation split of the experiment; DataError if it is not prepared."""
    require_full_measure(experiment)
    return Split.open(project.prepared_split(experiment.dataset, experiment.evaluation.split))


def require_full_measure(experiment: Experiment) -> None:
    """Raise ParamsError if the experiment measures only the cost of its network."""
    if experiment.cost_only:
        raise ParamsError(
            "the experiment measures only the cost of a network: nothing is trained or evaluated",
            where=f"{experiment.folder}/params.yaml: measure",
            allowed="`repro benchmark` and `repro record`",
            hint=f"`dvc repro {experiment.folder}` runs both",
        )


def prepared_split(project: Project, dataset: str, split: str) -> Split:
    """Open a prepared split; UnknownNameError for names that are not in params.yaml."""
    known = read_yaml(project.params).get("datasets", {})
    if dataset not in known:
        raise UnknownNameError("dataset", dataset, known)
    if split not in known[dataset]["splits"]:
        raise UnknownNameError(f"split of {dataset}", split, known[dataset]["splits"])
    return Split.open(project.prepared_split(dataset, split))


def protocol_named(project: Project, name: str) -> Protocol:
    """Protocol of the root params.yaml; UnknownNameError for other names."""
    blocks = read_yaml(project.params).get("protocols", {})
    if name == EXTERNAL and name not in blocks:
        return Protocol(mode="external")
    if name not in blocks:
        raise UnknownNameError("protocol", name, blocks)
    return parse(Protocol, blocks[name], f"{project.params}: protocols.{name}")
