"""File access: bounded readers, atomic writes, locks, downloads, redaction, git."""
