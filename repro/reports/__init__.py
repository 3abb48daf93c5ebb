"""Tables, gate, lint, exports and the HTML report, all generated from records."""
