"""Passwords and tokens, kept out of what is written down: addresses, command lines, errors, names of files.

Where it cannot be told what belongs to a password, more is hidden rather than less.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

# Files that hold secrets by custom: the difference of the code is an artifact that others read.
_FILE = re.compile(
    r"(?i)(^|/)(\.env[^/]*|[._]netrc|\.pypirc|\.npmrc|kubeconfig|id_(rsa|dsa|ecdsa|ed25519)[^/]*"
    r"|[^/]*\.(pem|key|p12|pfx|jks|keystore|tfvars)|[^/]*service[-_]?account[^/]*\.json"
    r"|[^/]*(token|secret|passw|credential)[^/]*(?<!\.py))$"
)
_STAGE = re.compile(r"[a-z]+@[a-z0-9_]+")  # prepare@camvid, as DVC calls a stage of a list
_SECRET = r"token|secret|passw(?:or)?d|passwd|pwd|api[-_]?key|credential"
_NAME = re.compile(rf"(?i)({_SECRET})")
# In a file: what is set to a key of such a name, in quotes, or in what is no code without them. The pattern
# begins with the word itself and every run is bounded, against a quadratic time.
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
# Values that are tokens by their shape: of code hosts, clouds, model hubs, chats, and signed ones.
_SHAPES = re.compile(
    r"\b(gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|xox[abeprs]-[\w-]{8,}"
    r"|sk-[\w-]{20,}|A[KS]IA[0-9A-Z]{12,}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
_BEGIN, _END = re.compile(r"-----BEGIN [A-Z0-9 ]+-----"), re.compile(r"-----END [A-Z0-9 ]+-----")


def shown_uri(uri: str) -> str:
    """An address without its secrets: whatever lies before the last @ of the authority, and the whole query.

    Where an @ follows a ?, either may belong to a password, and nothing but the scheme is told.
    """
    scheme, user, place, query = _parts(uri)
    if query and "@" in query:
        return f"{scheme}***"
    if user.startswith("/"):  # a path: an @ in it is no authority's
        user, place = "", f"{user}@{place}"
    return scheme + ("***@" if user else "") + place + ("" if query is None else "?***")


def public(url: str) -> str | None:
    """An address without user, password and query; None where it cannot be told where a password ends."""
    scheme, user, place, query = _parts(url.strip("\"' "))
    if "@" in (query or "") or set("/#[") & set(user):  # of a password with a / ? # or [ in it
        return None
    return (scheme + place.partition("#")[0]).rstrip("/")


def without_secrets(text: str) -> str:
    """An error's text, which may quote the store's address whole or in part."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:  # what follows the scheme: that may name another driver by now
        typed, shown = (whole.partition("://")[2] or whole for whole in (uri, shown_uri(uri)))
        text = text.replace(typed, shown)
    return _without_users(re.sub(r"(?<![\w+.-])[\w+.-]+://\S+", lambda found: shown_uri(found[0]), text))


def scrub(command: Sequence[str]) -> list[str]:
    """The command line with its program shortened to a name and every secret-looking value removed."""
    parts = [Path(command[0]).name, *command[1:]] if command else []
    clean: list[str] = []
    for position, part in enumerate(parts):
        # To the end of the argument: a password may hold spaces too.
        if not _STAGE.fullmatch(part):
            part = _without_users(re.sub(r"(?s)[\w+.-]+://.*", lambda found: shown_uri(found[0]), part))
        if _NAME.search(part) and "=" in part:
            part = part.split("=", 1)[0] + "=***"
        elif position and parts[position - 1].startswith("-") and _NAME.search(parts[position - 1]):
            part = part if "=" in parts[position - 1] else "***"
        clean.append(part)
    return clean


def masked(lines: Sequence[str], *, is_code: bool) -> list[str]:
    """The lines of a file with `***` in place of every credential; in code only literals count as one."""
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
    """Whether a file's name says that it holds secrets: .env, id_rsa, server.key, API_TOKEN.txt."""
    return bool(_FILE.search(name))


def _parts(uri: str) -> tuple[str, str, str, str | None]:
    """(scheme with ://, what lies before the last @, what follows it, query); None: there is no ?."""
    scheme, rest = re.fullmatch(r"(?s)([\w+.-]+://)?(.*)", uri).groups("")  # type: ignore[union-attr]
    place, asked, query = rest.partition("?")
    user, _, place = place.rpartition("@")
    return scheme, user, place, query if asked else None


def _without_users(text: str) -> str:
    """Without what lies before an @, also where no scheme says that an address begins."""
    return re.sub(r"(?<![^\s\"'(])[^\s\"'(]+(?<!\*)@", "***@", text)
