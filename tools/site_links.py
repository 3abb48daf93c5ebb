"""Files of the repository that the documentation links to, copied into the built site.

Pages in docs/ link to params.yaml files and tables outside of docs/, as GitHub shows them. A site has docs/
alone: `python tools/site_links.py site` copies each linked file to site/source/ and points the link there.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from functools import partial
from pathlib import Path

LINK = re.compile(r'href="((?:\.\./)+[^"#?:]*)(?:\?plain=1)?"')


def main(site: Path) -> None:
    """Rewrite the links of all pages below `site`; SystemExit names those that lead to nothing."""
    site, missing = site.resolve(), list[str]()
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        changed = LINK.sub(partial(_followed, page=page, site=site, missing=missing), text)
        if changed != text:
            page.write_text(changed, encoding="utf-8")
    if missing:
        sys.exit("links to nothing:\n" + "\n".join(sorted(set(missing))))


def _followed(link: re.Match[str], page: Path, site: Path, missing: list[str]) -> str:
    """The link as it is, or to a copy of the file in the site."""
    target, root = (page.parent / link[1]).resolve(), site.parent
    if target.is_relative_to(site):
        return link[0]
    if link[1].endswith("/"):  # the site's form of a link to NAME.md
        target = target.with_suffix(".md")
    if not (target.is_relative_to(root) and target.is_file()):
        missing.append(f"{page.relative_to(site)}: {link[1]}")
        return link[0]
    kept = site / "source" / target.relative_to(root)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(target, kept)
    return f'href="{os.path.relpath(kept, page.parent)}"'


if __name__ == "__main__":
    main(Path(sys.argv[1]))
