"""params.yaml files as typed, frozen dataclasses."""

from repro.io.yaml_reader import read_yaml
from repro.params.augmentation import Augmentation
from repro.params.bands import Band
from repro.params.dataset import DatasetFacts, dataset_facts, dataset_names
from repro.params.expectation import Expectation
from repro.params.experiment import (
    AnyExperiment,
    Engine,
    Evaluation,
    Experiment,
    ExternalExperiment,
    TrainedExperiment,
    also_names,
    load_experiment,
    load_external,
    load_trained,
    section,
)
from repro.params.folders import Broken, broken_error, read_each, resolve_all
from repro.params.model import ModelParams
from repro.params.names import experiment_name, experiment_names, explicitly_named, matching
from repro.params.parse import parse, to_plain
from repro.params.project import Project, find_project
from repro.params.protocol import Protocol
from repro.params.reference import NetworkParams, ReferenceModel
from repro.params.training import TrainingParams

__all__ = [
    "AnyExperiment",
    "Augmentation",
    "Band",
    "Broken",
    "DatasetFacts",
    "Engine",
    "Evaluation",
    "Expectation",
    "Experiment",
    "ExternalExperiment",
    "ModelParams",
    "NetworkParams",
    "Project",
    "Protocol",
    "ReferenceModel",
    "TrainedExperiment",
    "TrainingParams",
    "also_names",
    "broken_error",
    "dataset_facts",
    "dataset_names",
    "experiment_name",
    "experiment_names",
    "explicitly_named",
    "find_project",
    "load_experiment",
    "load_external",
    "load_trained",
    "matching",
    "parse",
    "read_each",
    "read_yaml",
    "resolve_all",
    "section",
    "to_plain",
]
