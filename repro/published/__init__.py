"""The published pages of a project as data: typed rows, verbatim cells, table layouts."""

from repro.published.folder import Published
from repro.published.page import Column, Page, Row, Source, Table

__all__ = ["Column", "Page", "Published", "Row", "Source", "Table"]
