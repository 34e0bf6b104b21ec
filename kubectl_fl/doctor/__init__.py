"""Checks for `kubectl fl doctor`: pure functions from one observation of the hub to findings with remedies."""
