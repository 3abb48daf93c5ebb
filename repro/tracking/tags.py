"""Names of the tags of runs in MLflow."""

NAME = "repro.experiment"
KEY = "repro.run_key"  # identifies the training of a run
RECORD = "repro.record"  # content hash of the complete record
IN_GIT = "repro.in_git"  # yes: the record in git is this one; no: it is another measurement
JUDGEMENT = "repro.judgement"  # digest of the run's verdict and note
JOURNAL = "repro.journal"  # digest of the complete journal: "<points>:<status>:<digest>"
ERROR = "repro.error"  # error message of the run
SENDING = "repro.sending"  # "<content hash> <time>": detects clones that send one record at the same time
FAMILY = "repro.family"  # digest of the parent's content
PARENT = "mlflow.parentRunId"

# Whose a run is.
PROJECT = "repro.project"
CLONE = "repro.clone"
MACHINE = "repro.machine"
USER = "mlflow.user"
RETIRED = "repro.retired"  # a newer run replaces it; it is ignored

# Prefixes of tags of a registered model.
OWN = "repro.alias."  # aliases set by `repro weights promote`
OWNER = "repro.alias-of."  # the project that owns an alias

NOTE_TAG = "mlflow.note.content"
