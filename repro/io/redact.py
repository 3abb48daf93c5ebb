"""Redaction of passwords and tokens in URLs, command lines, error messages and source files.

Where the end of a password is ambiguous, too much is hidden rather than too little.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

# Names of files that usually hold secrets: they stay out of the source diff, which others can read.
_FILE = re.compile(
    r"(?i)(^|/)(\.env[^/]*|[._]netrc|\.pypirc|\.npmrc|kubeconfig|id_(rsa|dsa|ecdsa|ed25519)[^/]*"
    r"|[^/]*\.(pem|key|p12|pfx|jks|keystore|tfvars)|[^/]*service[-_]?account[^/]*\.json"
    r"|[^/]*(token|secret|passw|credential)[^/]*(?<!\.py))$"
)
_STAGE = re.compile(r"[a-z]+@[a-z0-9_]+")  # prepare@camvid: DVC's name for a foreach stage, not a user
_SECRET = r"token|secret|passw(?:or)?d|passwd|pwd|api[-_]?key|credential"
_NAME = re.compile(rf"(?i)({_SECRET})")
# Values assigned to keys of such names: in quotes, or bare in files that are not code. The pattern starts
# with the word itself and every repetition is bounded, to avoid quadratic time.
_KEY = (
    rf"(?:{_SECRET}|(?:access|account|private|shared)[-_]?(?:access)?[-_]?key|_auth|authorization)"
    r"[\w.-]{0,40}[\"']?\s{0,4}"
)
_QUOTED = re.compile(rf"""(?i)({_KEY}(?::[\w\[\]| .]{{1,40}})?[:=]\s{{0,4}}[rbf]?)(["'])((?!\2).+?)\2""")
_BARE = re.compile(rf"""(?i)({_KEY}[:=]{{1,2}}\s{{0,4}})([^\s"'#\[{{$:=][^\s;,&]*)""")
_SIGNED = re.compile(
    r"(?i)\b(sig|signature|x-(?:amz|goog)-[\w-]{1,40}|awsaccesskeyid|key-pair-id)=[^&\s\"']+"
)
_USER = re.compile(r"([A-Za-z][\w+.-]{0,30}://)[^\s\"'<>]{0,400}@")
# Tokens recognised by their format: code hosts, clouds, model hubs, chats, JWT.
_SHAPES = re.compile(
    r"\b(gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|xox[abeprs]-[\w-]{8,}"
    r"|sk-[\w-]{20,}|A[KS]IA[0-9A-Z]{12,}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
_BEGIN, _END = re.compile(r"-----BEGIN [A-Z0-9 ]+-----"), re.compile(r"-----END [A-Z0-9 ]+-----")


def redact_uri(uri: str) -> str:
    """Replace user, password and query of a URL by `***`.

    If an @ follows a ?, either may belong to a password, so only the scheme is kept.
    """
    scheme, user, place, query = _parts(uri)
    if query and "@" in query:
        return f"{scheme}***"
    if user.startswith("/"):  # a path may contain an @
        user, place = "", f"{user}@{place}"
    return scheme + ("***@" if user else "") + place + ("" if query is None else "?***")


def strip_credentials(url: str) -> str | None:
    """Remove user, password and query from a URL; None if the end of the password is ambiguous."""
    scheme, user, place, query = _parts(url.strip("\"' "))
    if "@" in (query or "") or set("/#[") & set(user):  # a password may contain / ? # or [
        return None
    return (scheme + place.partition("#")[0]).rstrip("/")


def redact_text(text: str) -> str:
    """Redact all URLs in a text, such as an error message that quotes MLFLOW_TRACKING_URI in part."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:  # compared without the scheme, which may name another driver
        typed, shown = (whole.partition("://")[2] or whole for whole in (uri, redact_uri(uri)))
        text = text.replace(typed, shown)
    return _without_users(re.sub(r"(?<![\w+.-])[\w+.-]+://\S+", lambda found: redact_uri(found[0]), text))


def redact_command(command: Sequence[str]) -> list[str]:
    """Shorten the program of a command line to its name and replace likely secrets by `***`."""
    parts = [Path(command[0]).name, *command[1:]] if command else []
    clean: list[str] = []
    for position, part in enumerate(parts):
        # Up to the end of the argument: a password may contain spaces.
        if not _STAGE.fullmatch(part):
            part = _without_users(re.sub(r"(?s)[\w+.-]+://.*", lambda found: redact_uri(found[0]), part))
        if _NAME.search(part) and "=" in part:
            part = part.split("=", 1)[0] + "=***"
        elif position and parts[position - 1].startswith("-") and _NAME.search(parts[position - 1]):
            part = part if "=" in parts[position - 1] else "***"
        clean.append(part)
    return clean


def redact_lines(lines: Sequence[str], *, is_code: bool) -> list[str]:
    """Replace credentials in the lines of a file by `***`; in code only those in string literals."""
    found, inside = [], False
    for line in lines:
        inside = inside or bool(_BEGIN.search(line))
        found.append("***" if inside else _masked(line, is_code))
        inside = inside and not _END.search(line)
    return found


def _masked(line: str, is_code: bool) -> str:
    line = _SHAPES.sub("***", _SIGNED.sub(r"\1=***", _USER.sub(r"\1***@", line)))
    line = _QUOTED.sub(r"\1\2***\2", line)
    return line if is_code else _BARE.sub(r"\1***", line)


def is_secret_file(name: str) -> bool:
    """Return whether a file name suggests secrets: .env, id_rsa, server.key, API_TOKEN.txt."""
    return bool(_FILE.search(name))


def _parts(uri: str) -> tuple[str, str, str, str | None]:
    """(scheme with ://, text before the last @, text after it, query or None)."""
    scheme, rest = re.fullmatch(r"(?s)([\w+.-]+://)?(.*)", uri).groups("")  # type: ignore[union-attr]
    place, asked, query = rest.partition("?")
    user, _, place = place.rpartition("@")
    return scheme, user, place, query if asked else None


def _without_users(text: str) -> str:
    """Redact what precedes an @, also in URLs without a scheme."""
    return re.sub(r"(?<![^\s\"'(])[^\s\"'(]+(?<!\*)@", "***@", text)
