"""`kubectl fl model`: the run's model, out of its volume and onto the user's disk, checked against the run's digest."""
