"""What every runtime needs: settings, certificates, the exchange, failures and the model file.

Imports `federation.runtime_contract`, `federation.rpc` and `federation.api`; never a framework.
"""
