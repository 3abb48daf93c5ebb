"""What a stage takes from the project by name: a prepared split, a protocol of params.yaml."""

from __future__ import annotations

from repro.datasets.prepare.prepared_split import Split
from repro.errors import ParamsError, UnknownNameError
from repro.params import Experiment, Project, Protocol, parse, read_yaml


def training_split(project: Project, experiment: Experiment) -> Split:
    """What the experiment is trained on; DataError where it is not prepared."""
    require_data_wanted(experiment)
    return Split.open(project.prepared_split(experiment.dataset, experiment.training.split))


def open_split(project: Project, experiment: Experiment) -> Split:
    """What the experiment is measured on; DataError where it is not prepared."""
    require_data_wanted(experiment)
    return Split.open(project.prepared_split(experiment.dataset, experiment.evaluation.split))


def require_data_wanted(experiment: Experiment) -> None:
    """ParamsError for an experiment that measures the cost of its network alone."""
    if experiment.measure == "cost":
        raise ParamsError(
            "it measures the cost of a network alone: nothing is trained or evaluated",
            where=f"{experiment.folder}/params.yaml: measure",
            allowed="`repro benchmark` and `repro record`",
            hint=f"`dvc repro {experiment.folder}` runs both",
        )


def prepared_split(project: Project, dataset: str, split: str) -> Split:
    """The prepared split; a name that params.yaml does not know is an error with the nearest one."""
    known = read_yaml(project.params).get("datasets", {})
    if dataset not in known:
        raise UnknownNameError("dataset", dataset, known)
    if split not in known[dataset]["splits"]:
        raise UnknownNameError(f"split of {dataset}", split, known[dataset]["splits"])
    return Split.open(project.prepared_split(dataset, split))


def protocol_named(project: Project, name: str) -> Protocol:
    """A block of `protocols:` of the root params.yaml; UnknownNameError for any other name."""
    blocks = read_yaml(project.params).get("protocols", {})
    if name not in blocks:
        raise UnknownNameError("protocol", name, blocks)
    return parse(Protocol, blocks[name], f"{project.params}: protocols.{name}")
