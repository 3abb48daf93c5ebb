"""Failing downloads without a published checksum: a bad file is rejected and removed, and nothing hangs."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from repro.checkpoints import weights_cache
from repro.datasets.raw import download as archives
from repro.datasets.sets.spec import Download
from repro.errors import DownloadError
from repro.io.download import check_content, fetch
from repro.reports.links import Link, check_digest, check_links, http_content

BYTES = bytes(range(256)) * 400


def zipped(size: int = 1000) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("images/a.png", BYTES[:size])
    return content.getvalue()


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry = tarfile.TarInfo("images/a.png")
        entry.size = len(BYTES)
        archive.addfile(entry, io.BytesIO(BYTES))
    return content.getvalue()


Answer = tuple[int, dict[str, str], bytes]


class Server(BaseHTTPRequestHandler):
    """Answers every request as configured by the test."""

    answer: ClassVar[Callable[[str], Answer]]
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.command)
        status, headers, body = type(self).answer(self.command)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Tests are silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """`server(status, headers, body)` returns a URL with this answer."""
    monkeypatch.setattr("repro.io.download.WAIT_S", 0.0)
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()

    def serve(status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"") -> str:
        Server.asked, Server.answer = [], staticmethod(lambda method: (status, headers or {}, body))
        return f"http://127.0.0.1:{running.server_address[1]}/data.zip"

    yield serve
    running.shutdown()
    thread.join()
    running.server_close()


PAGE = b"<!DOCTYPE html><title>Log in</title>"
BAD: dict[str, tuple[str, dict[str, str], bytes, str]] = {
    "web page by its type": ("a.zip", {"Content-Type": "text/html; charset=utf-8"}, zipped(), "a web page"),
    "web page by its content": ("a.zip", {}, b"\n  " + PAGE, "a web page"),
    "empty": ("a.zip", {}, b"", "an empty file"),
    "no zip": ("a.zip", {}, b"x" * 500, "not a complete archive"),
    "zip cut short": ("a.zip", {}, zipped()[:-30], "not a complete archive"),
    "tar cut short": ("a.tar.gz", {}, tarred()[:-20], "not a complete archive"),
    "compressed transfer": (
        "a.zip",
        {"Content-Encoding": "gzip"},
        gzip.compress(zipped()),
        "Content-Encoding gzip",
    ),
    "fewer bytes than said": ("a.zip", {"Content-Length": "5000"}, zipped(), "ended early"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_and_removed(tmp_path: Path, server: Callable[..., str], case: str) -> None:
    name, headers, body, said = BAD[case]
    url = server(200, headers, body)
    with pytest.raises(DownloadError, match=said):
        fetch(url, tmp_path / name, checksum=None)
    assert not (tmp_path / name).exists()
    if case != "fewer bytes than said":  # what came before a break is kept for the next attempt
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "body"), [("a.zip", zipped()), ("a.tar.gz", tarred()), ("w.pth", BYTES)])
def test_a_good_file_is_kept(tmp_path: Path, server: Callable[..., str], name: str, body: bytes) -> None:
    fetch(server(200, {"Content-Length": str(len(body))}, body), tmp_path / name, checksum=None)
    assert (tmp_path / name).read_bytes() == body


def test_a_length_that_is_not_a_number_is_not_a_length(tmp_path: Path, server: Callable[..., str]) -> None:
    fetch(server(200, {"Content-Length": "abc"}, zipped()), tmp_path / "a.zip", checksum=None)
    assert zipfile.is_zipfile(tmp_path / "a.zip")


def test_size_and_pace_are_bounded(
    tmp_path: Path, server: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match="too large"):
        fetch(server(200, {}, BYTES), tmp_path / "a.bin", checksum=None, max_bytes=1000)
    said_large = server(200, {"Content-Length": str(10**15)}, b"")
    with pytest.raises(DownloadError, match="too large"):
        fetch(said_large, tmp_path / "a.bin", checksum=None)
    monkeypatch.setattr("repro.io.download.SPEED_CHECK_AFTER_S", -1.0)
    monkeypatch.setattr("repro.io.download.MIN_BYTES_PER_S", 10**15)
    with pytest.raises(DownloadError, match="kB/s"):
        fetch(server(200, {}, BYTES), tmp_path / "a.bin", checksum=None)


class Slow(Server):
    """Sends single bytes until the client disconnects."""

    sent: ClassVar[int] = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            for Slow.sent in range(1, 400):
                self.wfile.write(b"a")
                time.sleep(0.02)


def test_a_body_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow server is detected before a whole piece has arrived."""
    monkeypatch.setattr("repro.io.download.SPEED_CHECK_AFTER_S", 0.1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}/a.bin"
        with pytest.raises(DownloadError, match="kB/s"):
            fetch(address, tmp_path / "a.bin", checksum=None)
        with pytest.raises(DownloadError, match="kB/s"):
            list(http_content(address))
        running.shutdown()
    assert Slow.sent < 300


class Mute(BaseHTTPRequestHandler):
    """Announces a body and sends half of it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"hello")
        self.wfile.flush()
        time.sleep(1)


def test_a_server_that_falls_silent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro.io.download.TIMEOUT_S", 0.2)
    monkeypatch.setattr("repro.io.download.ATTEMPTS", 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Mute) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        with pytest.raises(DownloadError, match=r"sent nothing for 0\.2 seconds"):
            fetch(f"http://127.0.0.1:{running.server_port}/a.bin", tmp_path / "a.bin", checksum=None)
        running.shutdown()


def test_what_grew_too_large_is_removed(tmp_path: Path, server: Callable[..., str]) -> None:
    with pytest.raises(DownloadError, match="too large"):
        fetch(server(200, {}, BYTES), tmp_path / "a.bin", checksum=None, max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


ADDRESSES = (
    "http://[::1",
    "http://" + "a" * 64 + ".b/",
    "http://",
    "file:///etc/passwd",
    "http://127.0.0.1:99999/",
)


@pytest.mark.parametrize("target", ADDRESSES)
def test_odd_addresses_are_one_error(tmp_path: Path, server: Callable[..., str], target: str) -> None:
    for url in (target, server(302, {"Location": target})):
        with pytest.raises(DownloadError, match="cannot fetch"):
            fetch(url, tmp_path / "a.zip", checksum=None)


def test_a_part_of_another_file_is_not_the_whole(tmp_path: Path, server: Callable[..., str]) -> None:
    (tmp_path / "a.zip.part").write_bytes(BYTES)
    with pytest.raises(DownloadError, match="the file changed"):
        fetch(server(416, {"Content-Range": "bytes */50"}), tmp_path / "a.zip", checksum=None)
    fetch(server(200, {}, zipped()), tmp_path / "a.zip", checksum=None)
    assert (tmp_path / "a.zip").read_bytes() == zipped()


def test_a_bad_archive_from_before_is_fetched_again(tmp_path: Path, server: Callable[..., str]) -> None:
    (tmp_path / "a.zip").write_bytes(PAGE)
    url = server(200, {}, zipped())
    file = Download(name="a.zip", page="example.org", size_GB=0.1, url=url)
    assert archives.fetch(file, tmp_path).read_bytes() == zipped()
    archives.fetch(file, tmp_path)
    assert Server.asked == ["GET"]  # the good one is kept


def test_released_weights_that_are_no_checkpoint_do_not_stay(
    tmp_path: Path, server: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    for body in (PAGE, b"Quota exceeded"):
        with pytest.raises(DownloadError, match="the server sent"):
            weights_cache.get_released("000-01", server(200, {}, body))
    assert not [path for path in (tmp_path / "weights").rglob("*") if path.is_file()]


def test_an_xml_answer_is_not_an_image_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>')
    with pytest.raises(DownloadError, match="a web page"):
        check_content(path, path.name, where="http://x")


# --- links


def test_one_bad_address_never_ends_the_check(server: Callable[..., str]) -> None:
    links = [Link(row="x", role="model", url=url) for url in (*ADDRESSES, server(200))]
    states = [one.state for one in check_links(links, pause=0.0)]
    assert states == ["unreached"] * len(ADDRESSES) + ["ok"]


@pytest.mark.parametrize("refused", [400, 403, 404, 405, 501])
def test_a_head_that_is_refused_is_asked_again_with_get(server: Callable[..., str], refused: int) -> None:
    url = server()
    Server.answer = staticmethod(lambda method: (refused if method == "HEAD" else 200, {}, b"x"))
    assert [one.state for one in check_links([Link(row="x", role="model", url=url)], pause=0.0)] == ["ok"]
    assert Server.asked == ["HEAD", "GET"]


def test_a_digest_that_cannot_be_read_is_unreached(server: Callable[..., str]) -> None:
    url = server(200, {"Content-Length": "9"}, b"x").replace("data.zip", "r50-d8-ce0fa0ca.pth")
    one = check_links([Link(row="x", role="model", url=url)], pause=0.0)[0]
    assert one.state == "ok"
    assert check_digest(one).state == "unreached"
