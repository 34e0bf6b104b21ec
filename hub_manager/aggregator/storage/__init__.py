"""Spool, journal and checkpoints on the run's volume.

Imports `rounds.records`, `validation`, `numerics` and `domain`.
"""
