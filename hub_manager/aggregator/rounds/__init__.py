"""The rounds of a run as a pure state machine: no I/O, no clock, no asyncio.

Imports `validation` and `domain`.
"""
