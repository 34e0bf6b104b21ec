"""The round engine: performs the effects of the round machine.

Imports `ports`, `storage`, `rounds`, `numerics`, `validation` and `domain`; never `exchange`.
"""
