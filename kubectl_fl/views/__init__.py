"""Pages, tables and lines for a terminal, rendered from values."""
