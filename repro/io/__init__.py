"""Files, names and addresses: bounded readers, atomic writes, locks, downloads, redaction, git."""
