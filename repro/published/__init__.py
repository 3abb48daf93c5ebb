"""The published pages as data: typed rows, verbatim cells, table layouts."""

from repro.published.page import Column, Page, Row, Source, Table, load_page, page_ids, pages, row_ids, rows

__all__ = ["Column", "Page", "Row", "Source", "Table", "load_page", "page_ids", "pages", "row_ids", "rows"]
