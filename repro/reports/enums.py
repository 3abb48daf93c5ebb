"""Choices that commands offer; light, so that `repro --help` need not import what makes tables."""

from __future__ import annotations

from enum import StrEnum


class Values(StrEnum):
    """Whose numbers a page's table shows."""

    published = "published"
    measured = "measured"
    both = "both"


class Format(StrEnum):
    """Output formats of tables."""

    md = "md"
    csv = "csv"
    json = "json"
    html = "html"
    latex = "latex"
    parquet = "parquet"


class Origin(StrEnum):
    """Where results are read from."""

    records = "records"
    mlflow = "mlflow"
