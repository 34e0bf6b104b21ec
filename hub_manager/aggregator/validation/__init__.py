"""Checks of what peers send: manifests, updates and their content.

Imports `numerics.dtypes` and `domain`.
"""
