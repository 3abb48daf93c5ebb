"""The console of every command: what it prints is text, never markup, and nothing in it moves a cursor."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from repro.safe_text import printable


class PlainConsole(Console):
    """Rich without markup and emoji codes; every string, those in tables too, comes through `render_str`."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)
