"""Read the hub's stores into one frozen value per run.

Imports `resources.names`, `site`, `settings` and `dependencies`; never the reconciler.
"""
