"""A result to judge: its record, the current params.yaml, and its files, parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from repro.errors import RecordError, ReproError
from repro.evaluation.outputs import StoredConfusions, Totals, parse_confusions, read_table
from repro.evaluation.recompute import determined, from_images, from_totals, resampled
from repro.io.atomic import sha256_file
from repro.io.json_reader import load_json
from repro.judgement.evidence import CSV, METRICS, NPZ, Evidence
from repro.params import AnyExperiment, Experiment, Project, Protocol
from repro.params.experiment import parse_experiment
from repro.params.parse import parse
from repro.records import Record
from repro.records.build import ALSO, expected, published_metrics
from repro.records.record import Expected, Measured


@dataclass(frozen=True, kw_only=True)
class Case:
    """A record and its evidence. `current` is the experiment in params.yaml now; None if it is missing."""

    project: Project
    record: Record
    current: Experiment | ReproError | None
    evidence: Evidence

    @cached_property
    def recorded(self) -> AnyExperiment | ReproError:
        """The experiment according to the record."""
        try:
            return parse_experiment(self.record.params, self.record.experiment)
        except ReproError as error:
            return error

    @cached_property
    def expectation(self) -> Expected | None:
        """The reference of the verdict: that of the record; of a published number with the present band.

        `bands:` of params.yaml says it for all experiments of a data set, and no record is made again when it
        changes. While params.yaml is the file that a record was made with, the record has its band.
        """
        wanted = self.record.expectation
        if wanted is None or not self.record.published or not isinstance(self.current, Experiment):
            return wanted
        try:
            now = self.expected_now(self.current)
        except ReproError:  # of the page or of params.yaml, which `outdated` raises
            return wanted
        same = now and (wanted.metric, wanted.value) == (now.metric, now.value)
        return now if same and self._has_other_params() else wanted

    def _has_other_params(self) -> bool:
        """Whether params.yaml is known to be another file than when the record was made."""
        locks, path = self.record.provenance.get("locks"), self.project.params
        noted = locks.get(path.name) if isinstance(locks, Mapping) else None
        return noted is not None and noted != sha256_file(path)

    def expected_now(self, current: Experiment) -> Expected | None:
        """What a record of `current` that was made now would be compared with."""
        printed, _ = published_metrics(self.project.published, current)
        record = self.record
        number, made = record.metrics.get("mIoU"), record.provenance
        return expected(self.project, current, record.kind, printed, provenance=made, measured=number)

    @cached_property
    def main(self) -> Measurement:
        """The measurement under the experiment's own protocol, which the verdict is about."""
        return Measurement(case=self, folder="", claim=self.record)

    @cached_property
    def measurements(self) -> tuple[Measurement, ...]:
        """The main measurement, then those of the additional protocols."""
        further = self.record.also.items()
        return (
            self.main,
            *(Measurement(case=self, folder=f"{ALSO}/{name}/", claim=one) for name, one in further),
        )


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The claims of a record for a protocol, and the files in `folder` that support them.

    Properties raise RecordError or ParamsError for invalid files.
    """

    case: Case
    folder: str
    claim: Record | Measured

    def read(self, name: str) -> bytes | None:
        return self.case.evidence.read(self.folder + name)

    @cached_property
    def protocol(self) -> Protocol:
        return parse(Protocol, self.claim.protocol, f"protocol of {self.case.record.experiment}")

    @cached_property
    def metrics(self) -> Mapping[str, Any] | None:
        """metrics.json; None if it is missing."""
        return mapping(self.read(METRICS), self.folder + METRICS)

    @cached_property
    def stored(self) -> StoredConfusions | None:
        """The per-image matrices; None if they are not available."""
        content = self.read(NPZ)
        return None if content is None else parse_confusions(content, self.case.evidence.where / NPZ)

    @cached_property
    def totals(self) -> Totals | None:
        """The matrices of the whole split, from git; None if they are missing."""
        content = self.read(CSV)
        text = None if content is None else content.decode("utf-8", errors="replace")
        return None if text is None else read_table(text, self.case.evidence.where / CSV)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Classes of the matrices. Raises RecordError if there are no matrices."""
        return self._matrices.classes

    @property
    def _matrices(self) -> StoredConfusions | Totals:
        found = self.stored or self.totals
        if found is None:
            raise RecordError(f"{self.folder}{CSV} is missing", where=self.case.evidence.where)
        return found

    @cached_property
    def recomputed(self) -> dict[str, Any]:
        """The metrics computed from the matrices, in the format of metrics.json."""
        found = self._matrices
        suffixes = found.confusions if isinstance(found, StoredConfusions) else found.matrices
        if "" not in suffixes or not found.classes:
            raise RecordError("the matrices are empty", where=self.case.evidence.where)
        if isinstance(found, StoredConfusions):
            over = resampled(found, self.case.record.dataset, self.claim.interval)
            return from_images(found, self.protocol, over if self.case.evidence.thorough else None)
        return from_totals(found, self.protocol)

    @cached_property
    def determined(self) -> frozenset[str]:
        """Names of the metrics that the available matrices determine."""
        found, by_image = self._matrices, self.stored is not None and self.case.evidence.thorough
        suffixes = found.confusions if isinstance(found, StoredConfusions) else found.matrices
        return determined(self.protocol, suffixes.keys(), by_image=by_image)


def mapping(content: bytes | None, where: str) -> dict[str, Any] | None:
    """Parse a JSON mapping. Raises RecordError if it is invalid."""
    return None if content is None else load_json(content, where)
