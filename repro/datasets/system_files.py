"""Files that systems and notebooks leave beside data: no data set ever means them."""

from __future__ import annotations

_COMPANION = "._"  # macOS writes ._x.png beside x.png on foreign disks and into archives
_NAMES = frozenset(
    {
        *(".ds_store", "__macosx", ".appledouble", ".spotlight-v100", ".trashes", ".fseventsd"),
        *("thumbs.db", "desktop.ini", ".ipynb_checkpoints", "@eadir"),
    }
)


def is_system_file(name: str) -> bool:
    """Whether a name inside a folder or archive, with `/` between its parts, is one of these or in one."""
    return any(part.startswith(_COMPANION) or part.lower() in _NAMES for part in name.split("/"))
