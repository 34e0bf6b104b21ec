"""Provide what all runtimes share: settings, the exchange with the aggregator, termination messages, the model file.

Imports `federation.runtime_contract`, `federation.rpc` and `federation.api`; never a framework.
"""
