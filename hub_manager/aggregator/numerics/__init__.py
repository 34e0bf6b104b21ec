"""Aggregation arithmetic over tensors: pure, deterministic to the last bit.

Imports nothing of the aggregator.
"""
