"""Result records, run journals, verdicts and provenance. Imports neither torch nor MLflow."""

from repro.io.atomic import (
    canonical,
    disk_errors,
    run_key,
    sha256_file,
    sha256_text,
    write_bytes,
    write_json,
    write_text,
)
from repro.io.locks import is_locked, locked
from repro.records.build import make_record, training_key, with_earlier_training, with_seed_statistics
from repro.records.device import (
    cpu_identity,
    device_identity,
    peak_memory,
    reset_peak_memory,
    synchronize,
)
from repro.records.journal import Journal, follow_journal, read_journal, truncate_journal
from repro.records.provenance import collect, git_state, lock_hashes, timestamp
from repro.records.record import (
    Expected,
    Record,
    from_json,
    read_record,
    read_records,
    read_row,
    to_json,
    write_record,
)
from repro.records.seeds import disagreement, families, seeds_of
from repro.records.source_diff import DIFF, source_diff
from repro.records.verdict import (
    FAILING,
    PASSING,
    VERDICTS,
    Kind,
    Verdict,
    default_band,
    seed_band,
    verdict,
)

__all__ = [
    "DIFF",
    "FAILING",
    "PASSING",
    "VERDICTS",
    "Expected",
    "Journal",
    "Kind",
    "Record",
    "Verdict",
    "canonical",
    "collect",
    "cpu_identity",
    "default_band",
    "device_identity",
    "disagreement",
    "disk_errors",
    "families",
    "follow_journal",
    "from_json",
    "git_state",
    "is_locked",
    "lock_hashes",
    "locked",
    "make_record",
    "peak_memory",
    "read_journal",
    "read_record",
    "read_records",
    "read_row",
    "reset_peak_memory",
    "run_key",
    "seed_band",
    "seeds_of",
    "sha256_file",
    "sha256_text",
    "source_diff",
    "synchronize",
    "timestamp",
    "to_json",
    "training_key",
    "truncate_journal",
    "verdict",
    "with_earlier_training",
    "with_seed_statistics",
    "write_bytes",
    "write_json",
    "write_record",
    "write_text",
]
