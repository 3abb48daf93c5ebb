"""Download links: those of measured rows, and whether published ones still work (`repro page links --check`).

config: the experiment's params.yaml in git. model: where the DVC remote keeps the weights; git does not hold
them, so without a remote that a browser can open there is no link. log: the learning curve in git.

HEAD first, then a one-byte GET where HEAD is answered with an error; retries with growing pauses; a mirror of
the same row may replace a dead link. Not reached is not dead: without a network nothing is called dead. An
address that cannot be asked never ends the check of the others.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from repro.errors import DownloadError
from repro.io.download import MAX_BYTES, read_body, requests_errors
from repro.params.project import Project
from repro.published import Row
from repro.published.sources import hash_in_name
from repro.records.dvc_files import read_lock, remote_url


def measured_links(project: Project, name: str, *, base: str = "") -> dict[str, str]:
    """Role -> target of an experiment's own files. `base` leads from the page to the project root."""
    folder = f"experiments/{name}"
    found = {}
    if (project.root / folder / "params.yaml").is_file():
        found["config"] = f"{base}{folder}/params.yaml"
    weights = model_location(project, name)
    if weights:
        found["model"] = weights
    if (project.root / folder / "curve.csv").is_file():
        found["log"] = f"{base}{folder}/curve.csv"
    if project.attested(name).is_file():
        # As text: a link from docs/ to a .md file outside of it would be a missing page of the site.
        found["attested"] = f"{base}published/attested/{name}.md?plain=1"
    return found


def link_cell(found: dict[str, str], separator: str = " · ") -> str:
    """Markdown links of a role -> target mapping."""
    return separator.join(f"[{role}]({target})" for role, target in found.items())


def model_location(project: Project, name: str) -> str | None:
    """Address of the weights of a locked experiment; None before the first training and without a remote."""
    remote = remote_url(project.root)
    if remote is None:
        return None
    lock = read_lock(project.root / f"experiments/{name}/dvc.lock")
    md5 = lock.outs.get("model.safetensors") if lock else None
    return f"{remote}/files/md5/{md5[:2]}/{md5[2:]}" if md5 else None


State = Literal["ok", "dead", "unreached"]
TRIES = 3
_GONE = frozenset({404, 410, 451})


@dataclass(frozen=True, kw_only=True)
class Link:
    """A published link of one row."""

    row: str
    role: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What became of a link: its state, and why in a few words."""

    link: Link
    state: State
    detail: str
    mirror: str | None = None


Ask = Callable[[str, str], int]  # (method, url) -> HTTP status; raises OSError when nothing answers
Fetch = Callable[[str], Iterable[bytes]]


def links_of(rows: Iterable[Row]) -> list[Link]:
    """Every link of the rows that has a target."""
    return [Link(row=row.id, role=role, url=url) for row in rows for role, url in row.links.items()]


def check_links(
    links: Sequence[Link], *, ask: Ask | None = None, pause: float = 1.0, workers: int = 8
) -> list[Checked]:
    """The state of every link, each address asked once; dead ones with their row's living mirror."""
    asked = ask or http_status
    urls = list(dict.fromkeys(link.url for link in links))
    with ThreadPoolExecutor(workers) as pool:
        states = dict(zip(urls, pool.map(lambda url: _state(url, asked, pause), urls), strict=True))
    checked = [Checked(link=link, state=states[link.url][0], detail=states[link.url][1]) for link in links]
    return [_with_mirror(one, checked) for one in checked]


def _with_mirror(one: Checked, all_checked: Sequence[Checked]) -> Checked:
    roles = {"model": "model_mirror", "model_mirror": "model"}
    other = [
        found.link.url
        for found in all_checked
        if found.link.row == one.link.row
        and found.link.role == roles.get(one.link.role)
        and found.state == "ok"
    ]
    return replace(one, mirror=other[0]) if one.state == "dead" and other else one


def _state(url: str, ask: Ask, pause: float) -> tuple[State, str]:
    """HEAD, else GET; server errors and silence are tried again."""
    detail = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            status = ask("HEAD", url)
            if status >= 400:  # some servers refuse HEAD alone, with any status: 403, 404, 405, 501
                status = ask("GET", url)
        except OSError as error:
            detail = f"could not reach: {type(error).__name__}"
            continue
        detail = f"HTTP {status}"
        if status < 400:
            return "ok", detail
        if status in _GONE:
            return "dead", detail
    return "unreached", detail


def check_digest(one: Checked, fetch: Fetch | None = None) -> Checked:
    """Return `one` after reading the whole file if its name holds a sha256; other content is a dead link."""
    wanted = hash_in_name(one.link.url)
    if wanted is None or one.state != "ok":
        return one
    try:
        digest = hashlib.sha256()
        for block in (fetch or http_content)(one.link.url):
            digest.update(block)
    except (OSError, DownloadError) as error:
        return replace(one, state="unreached", detail=f"could not read: {type(error).__name__}")
    if digest.hexdigest().startswith(wanted):
        return replace(one, detail=f"{one.detail}, sha256 {wanted} is right")
    return replace(one, state="dead", detail=f"sha256 is {digest.hexdigest()[:16]}, the name says {wanted}")


def http_content(url: str) -> Iterator[bytes]:
    """The content of an address as it arrives."""
    import requests

    headers, read = {"Accept-Encoding": "identity"}, 0
    with requests_errors(), requests.get(url, headers=headers, timeout=60, stream=True) as answer:
        answer.raise_for_status()
        for block in read_body(answer):
            read += len(block)
            if read > MAX_BYTES:
                raise OSError(f"more than {MAX_BYTES / 1e9:g} GB")
            yield block


def http_status(method: str, url: str) -> int:
    """Status after redirects; a GET asks for the first byte only and does not read it."""
    import requests

    headers = {"Range": "bytes=0-0"} if method == "GET" else {}
    with (
        requests_errors(),
        requests.request(
            method, url, headers=headers, allow_redirects=True, timeout=15, stream=True
        ) as answer,
    ):
        return answer.status_code
