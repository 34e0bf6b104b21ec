"""The run's progress: status, metrics and telemetry.

Imports `rounds` and `domain`.
"""
