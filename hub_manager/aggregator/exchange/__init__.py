"""The gRPC service that collaborators call.

Imports `ports`, `rounds.effects`, `reporting.telemetry`, `validation` and `domain`; never `engine` or `storage`.
"""
