"""Run the life cycle of a FederatedLearning on the hub: its Placement, cohort, aggregator and status.

Data flows one way: `reconciler` reads the stores into an `ObservedRun`, `planning` turns that into the status to write
and an ordered list of actions, and `resources` builds the objects as structures. No module reads training data. A value
that a spoke can write affects only what that spoke receives.
"""
