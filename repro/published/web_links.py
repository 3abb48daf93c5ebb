"""Web addresses of published pages, and of the papers of networks that this package builds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from repro.published.page import Source

_ORIGIN = re.compile(r"([\w.-]+/[\w.-]+):(\S+)")  # owner/repository:path of a page
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Of families and backbones whose networks this package builds: title, address.
PAPERS = {
    "deeplabv1": ("DeepLab v1 (2014)", "https://arxiv.org/abs/1412.7062"),
    "deeplabv2": ("DeepLab v2 (2016)", "https://arxiv.org/abs/1606.00915"),
    "deeplabv3": ("DeepLab v3 (2017)", "https://arxiv.org/abs/1706.05587"),
    "deeplabv3plus": ("DeepLab v3+ (2018)", "https://arxiv.org/abs/1802.02611"),
    "mobilenetv2": ("MobileNetV2 (2018)", "https://arxiv.org/abs/1801.04381"),
}


def papers(*names: str | None) -> Iterator[tuple[str, str]]:
    """Yield (title, address) of the papers of a family and a backbone, as far as they are known."""
    return (PAPERS[name] for name in dict.fromkeys(names) if name in PAPERS)


def page_url(source: Source, line: int | None = None) -> str | None:
    """Address of a published page at its commit, at `line`; None if its origin is not on the web."""
    if source.origin.startswith(("https://", "http://")):
        return source.origin
    found = _ORIGIN.match(source.origin)
    if found is None or not _COMMIT.fullmatch(source.commit):
        return None
    address = f"https://github.com/{found[1]}/blob/{source.commit}/{quote(found[2])}"
    return f"{address}?plain=1#L{line}" if line else address
