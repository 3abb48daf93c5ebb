"""Everything people read: tables, the gate, lint, exports. Made from records, never typed by hand."""
