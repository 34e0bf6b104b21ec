"""`kubectl fl doctor`: what keeps a run from starting, or from going on, with the remedy for each.

`observe` reads the hub once; `run_checks` and `cluster_checks` are pure, from what was read to findings; `page` shows
them.
"""
