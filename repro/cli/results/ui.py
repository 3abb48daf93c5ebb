"""`repro ui`: MLflow's own web interface on this project's store."""

from __future__ import annotations

from typing import Annotated

import typer


def ui(
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines.")
    ] = "127.0.0.1",
) -> None:
    """Start MLflow on the store of this project, and print the addresses of its Results views.

    Example: repro ui --port 5001
    """
    import os
    import sys

    from repro.cli.console import console
    from repro.errors import ReproError
    from repro.params import find_project
    from repro.tracking.address import is_database, require_address, shown_address, tracking_uri
    from repro.tracking.store import open_client, usable
    from repro.tracking.views import results_pages

    project = find_project()
    uri = tracking_uri(project)
    require_address(uri)
    if not is_database(uri):
        where = shown_address(project)
        raise ReproError("MLFLOW_TRACKING_URI names a server: open it in a browser", where=where)
    require_free(host, port)
    with usable(uri):
        # creates a fresh store under a lock before the server's workers race for it
        client = open_client(project)
        for name, path in results_pages(client):
            console(stderr=True).print(f"Results of {name}: http://{host}:{port}/{path}", soft_wrap=True)
    # One worker: more make MLflow start four times as long, and on a busy machine kill each other for it.
    address = ["--host", host, "--port", str(port), "--workers", "1"]
    # By environment, not by argument: the store's address may hold a password, and arguments are public.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    # MLflow's queue for jobs is eight more processes that this project has no use for.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *address])


def require_free(host: str, port: int) -> None:
    """ReproError where nothing can listen there: MLflow says so on its log's last page, with exit code 0."""
    import socket

    from repro.errors import ReproError

    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            # As servers do: connections of one that has just ended are no obstacle.
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        what = f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}"
        hint = f"--port names another, e.g. `repro ui --port {min(port + 1, 65535)}`"
        raise ReproError(what, hint=hint) from None
