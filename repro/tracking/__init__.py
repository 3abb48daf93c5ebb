"""MLflow tracking: a live view of journals and records, which can be rebuilt from them at any time."""

from repro.tracking.address import tracking_uri
from repro.tracking.health import store_state
from repro.tracking.mirror import Mirror
from repro.tracking.run_info import Run, RunState, Status, read_state

__all__ = ["Mirror", "Run", "RunState", "Status", "read_state", "store_state", "tracking_uri"]
