"""Names that commands had before: they work for one more release, with a notice on standard error."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from repro.cli.reporter import renamed

FORMER = {
    "fleet": "run --jobs 0",
    "campaign": "run",
    "export": "bundle export",
    "import-run": "bundle import",
    "lint": "page lint",
    "import": "page import",
    "links": "page links",
    "metadata": "page export",
    "promote": "weights promote",
    "checkpoint": "weights",
}


class WithFormerNames(TyperGroup):
    """A group of commands that also takes their former names, which help and completion do not show."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and (new := FORMER.get(args[0])):
            if not ctx.resilient_parsing:  # a shell that completes a line wants no notice
                renamed(f"repro {args[0]}", f"repro {new}")
            args = [*new.split(), *args[1:]]
        return super().resolve_command(ctx, args)
