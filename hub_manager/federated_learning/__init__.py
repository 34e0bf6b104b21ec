"""A federated run's life on the hub: from a FederatedLearning to its Placement, cohort, aggregator and status.

Data passes one way: `reconciler` reads the stores into an `Observed`, `plan` turns it into the status to write and the
actions to carry out, in their order; `render`, `aggregator_job` and `works` build the objects as structures. Nothing
here reads what is trained, and nothing is decided on what a spoke can write, but for what that spoke itself gets.
"""
