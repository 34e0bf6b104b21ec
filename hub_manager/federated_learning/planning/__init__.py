"""Decide what a run needs: pure functions from an observation to a reconcile plan.

Imports `observation.observed`, `resources`, `site` and `settings`; never `federation.kube.client`.
"""
