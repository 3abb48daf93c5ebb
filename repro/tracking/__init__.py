"""MLflow tracking: a live view of journals and records, which can be rebuilt from them at any time."""
