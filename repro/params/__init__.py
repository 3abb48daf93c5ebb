"""Typed parameters: the only reader of params.yaml files."""

from repro.params.data import Augmentation, DatasetFacts
from repro.params.experiment import (
    Engine,
    Evaluation,
    Expectation,
    Experiment,
    load_experiment,
    section,
)
from repro.params.model import ModelParams
from repro.params.names import experiment_name, experiment_names, matching
from repro.params.parse import parse, to_plain
from repro.params.project import Project, find_project
from repro.params.protocol import Protocol
from repro.params.training import TrainingParams
from repro.yaml_reader import read_yaml

__all__ = [
    "Augmentation",
    "DatasetFacts",
    "Engine",
    "Evaluation",
    "Expectation",
    "Experiment",
    "ModelParams",
    "Project",
    "Protocol",
    "TrainingParams",
    "experiment_name",
    "experiment_names",
    "find_project",
    "load_experiment",
    "matching",
    "parse",
    "read_yaml",
    "section",
    "to_plain",
]
