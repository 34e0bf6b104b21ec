"""Pure functions from the observed state of a run to its reconcile plan.

Imports `observation.observed`, `resources`, `site` and `settings`; never `federation.kube.client`.
"""
