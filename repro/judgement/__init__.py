"""Judgement of recorded results: consistency of their files, and the verdict. Does not import torch."""

from repro.judgement.case import Case
from repro.judgement.checks import contradictions, require_consistent
from repro.judgement.evidence import Evidence, Weights, bundle_evidence, folder_evidence, read_weights
from repro.judgement.judge import Judge, Judgement, from_project, judge_record

__all__ = [
    "Case",
    "Evidence",
    "Judge",
    "Judgement",
    "Weights",
    "bundle_evidence",
    "contradictions",
    "folder_evidence",
    "from_project",
    "judge_record",
    "read_weights",
    "require_consistent",
]
