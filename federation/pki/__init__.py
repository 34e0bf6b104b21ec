"""Requests, certificates, chains and the names in them, as values; nothing here reads a clock, a file or an API."""
