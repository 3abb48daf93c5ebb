"""Evaluate the released weights of a published row and compare the metrics with the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from torch import nn

from repro import checkpoints
from repro.checkpoints import weights_cache
from repro.datasets import described
from repro.datasets.prepare.prepared_split import Split
from repro.errors import ParamsError
from repro.evaluation import published_weights
from repro.evaluation.evaluate import evaluate
from repro.evaluation.outputs import write_result
from repro.io.sources import trust
from repro.models import build, build_on_meta
from repro.params import Experiment, ModelParams, Project, TrainedExperiment
from repro.params.experiment import num_classes
from repro.published import Row
from repro.records import device_identity, timestamp
from repro.stages.lookup import open_split
from repro.stages.model_setup import chosen_device
from repro.stages.reporter import SILENT, Reporter
from repro.stages.verify_inputs import kept_metrics, network_inputs, versions


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Measured and published metrics; `reasons` are possible causes of a difference.

    `inputs` is what the metrics depend on, `at` when they were measured, in seconds since 1970.
    """

    experiment: str
    row: str
    weights_sha256: str
    at: float
    inputs: Mapping[str, Any]
    metrics: dict[str, Any]
    checked: tuple[published_weights.MetricCheck, ...]
    verdict: str
    reasons: list[str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file of weights; `key` selects one of several networks in it."""

    file: Path
    sha256: str
    key: str | None = None

    @property
    def identity(self) -> str:
        return self.sha256 if self.key is None else f"{self.sha256} {self.key}"


def verify_released(
    project: Project,
    experiment: TrainedExperiment,
    *,
    weights: Path | None = None,
    sha256: str | None = None,
    key: str | None = None,
    device: str = "auto",
    max_age: float = inf,
    reporter: Reporter = SILENT,
) -> Verification:
    """Evaluate released weights under the experiment's protocol and compare with the published row.

    Args:
        project: the project.
        experiment: the experiment whose row, network and protocol are used.
        weights: local file of weights (default: download the row's).
        sha256: expected hash of the file.
        key: selects one of several networks in the file.
        device: auto, cpu, cuda, cuda:N or mps.
        max_age: evaluate again if the cached result is older, in seconds; 0: in any case.
        reporter: output for messages and progress.

    Raises:
        ParamsError: the experiment has no row to compare with.
        DataError: the data is not prepared.
        CheckpointError: the file has another hash or belongs to another network.
        DownloadError: the link does not provide the file.
    """
    trust(project.root)
    row = row_of(project, experiment, weights)
    split = open_split(project, experiment)
    file, digest = find_weights(row, weights, sha256, reporter)
    place = chosen_device(device)
    source = Source(file=file, sha256=digest, key=key)
    inputs = network_inputs(experiment, split, weights=source.identity, device=place)
    metrics, at = cached_or_measured(
        project, experiment, split, source, place, inputs=inputs, max_age=max_age, reporter=reporter
    )
    found = published_weights.check(metrics, row.metrics)
    return Verification(
        experiment=experiment.name,
        row=row.id,
        weights_sha256=digest,
        at=at,
        inputs=inputs,
        metrics=metrics,
        checked=found,
        verdict=published_weights.verdict(found),
        reasons=explain(project, experiment, row, split, metrics, place),
    )


def row_of(project: Project, experiment: TrainedExperiment, weights: Path | None) -> Row:
    """The row to compare with: the first one, or without a local file the first that links weights."""
    first = first_row(project, experiment)
    if weights is not None:
        return first
    return published_weights.released_row(experiment, project.published.rows)


def first_row(project: Project, experiment: Experiment) -> Row:
    """The first published row of an experiment; ParamsError without one."""
    known = project.published.rows
    mine = [known[name] for name in experiment.rows if name in known]
    if not mine:
        what = f"'{experiment.name}' has no published row to compare with"
        hint = "to evaluate weights without a row: `repro weights convert`, then `repro evaluate`"
        raise ParamsError(what, where=f"{experiment.folder}/params.yaml", allowed="rows: [ROW]", hint=hint)
    return mine[0]


def find_weights(row: Row, weights: Path | None, sha256: str | None, reporter: Reporter) -> tuple[Path, str]:
    """(file of weights, its sha256), from `weights`, the cache or the row's link."""
    if weights is not None:
        return weights, weights_cache.checked(weights, sha256)
    url = row.links["model"]
    if weights_cache.path_of(weights_cache.RELEASED + row.id).is_file():
        return weights_cache.get_released(row.id, url, sha256=sha256)
    reporter.note(f"downloading {url}")
    with reporter.file_bar(row.id) as progress:
        return weights_cache.get_released(row.id, url, sha256=sha256, progress=progress)


def cached_or_measured(
    project: Project,
    experiment: TrainedExperiment,
    split: Split,
    source: Source,
    device: str,
    *,
    inputs: Mapping[str, Any],
    max_age: float,
    reporter: Reporter,
) -> tuple[dict[str, Any], float]:
    """metrics.json of these weights, protocol and data, from the cache or a new evaluation, and its time."""

    def measure(folder: Path) -> None:
        with reporter.bar("verify") as progress:
            result = evaluate(
                converted(source, experiment).to(device),
                split,
                protocol=experiment.protocol,
                model_params=experiment.model,
                num_classes=num_classes(experiment, experiment.protocol),
                device=device,
                progress=progress,
            )
        write_result(result, folder, split=experiment.evaluation.split)

    return kept_metrics(project, inputs, measure, max_age=max_age)


def converted(source: Source, experiment: TrainedExperiment) -> nn.Module:
    """Build the experiment's network with the foreign weights; CheckpointError if they do not fit."""
    classes = num_classes(experiment, experiment.protocol)
    file = source.file
    state = checkpoints.read_checkpoint(file, key=source.key)
    ours = build_on_meta(experiment.model, num_classes=classes).state_dict()
    model = build(experiment.model, num_classes=classes)
    model.load_state_dict(
        checkpoints.fit(
            state,
            ours,
            params=experiment.model,
            where=file,
            drop_aux=isinstance(experiment.model, ModelParams) and experiment.model.aux is None,
        )
    )
    return model


def explain(
    project: Project,
    experiment: TrainedExperiment,
    row: Row,
    split: Split,
    metrics: dict[str, Any],
    device: str,
) -> list[str]:
    """Possible causes of a difference: settings, versions, device."""
    identity = device_identity(device)
    return published_weights.why_different(
        experiment,
        row,
        protocol_hash=metrics["protocol"],
        fingerprint=split.fingerprint,
        n_images=metrics["n_images"],
        official=described(project, experiment.dataset).SPLITS.get(experiment.evaluation.split),
        packages=versions(),
        device=str(identity.get("gpu") or f"{identity['cpu']}, {identity['threads']} threads"),
    )


def to_json(found: Verification) -> dict[str, Any]:
    """The output of `--json` and `--out`."""
    return {
        "experiment": found.experiment,
        "row": found.row,
        "weights_sha256": found.weights_sha256,
        "verdict": found.verdict,
        "checked": [asdict(one) for one in found.checked],
        "metrics": found.metrics,
        "at": timestamp(found.at),
        "inputs": dict(found.inputs),
        "may_differ": [] if found.verdict == "reproduced" else found.reasons,
    }
