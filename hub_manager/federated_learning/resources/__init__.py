"""Render the objects of a run.

Imports `site` and `settings`.
"""
