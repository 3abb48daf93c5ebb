"""`repro ui`: MLflow's own user interface on this project's store."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from repro.cli.common import console


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    fill: Annotated[bool, typer.Option(help="Bring in journals and records first.")] = True,
) -> None:
    """Open MLflow on the embedded store, or name the server that MLFLOW_TRACKING_URI points to.

    Example: repro ui --port 5001
    """
    from repro.params import find_project
    from repro.tracking import store_state, tracking_uri
    from repro.tracking.store import is_database

    project = find_project()
    uri, out = tracking_uri(project), console()
    if not is_database(uri):
        out.print(f"MLflow runs at {store_state(project)[0]}: open it in a browser", markup=False)
        return
    if fill:
        from repro.tracking.sync import sync

        report = sync(project)
        out.print(f"{len(report.sent)} runs brought in, {len(report.unchanged)} were there")
    out.print(f"http://127.0.0.1:{port}  (Ctrl-C ends it)")
    sys.stdout.flush()
    # Without its job queue: eight processes that this project has no use for.
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    artifacts = (project.root / "mlartifacts").as_uri()
    os.execvpe(
        sys.executable,
        [*command, "--backend-store-uri", uri, "--default-artifact-root", artifacts],
        environment,
    )
