"""`kubectl fl`: a run on one page, its logs, its model, and what keeps it from starting.

Clusters are reached through the user's own kubectl, so there is no second configuration and no library of Kubernetes.
What is shown is decided by pure modules from what kubectl answered; `app` and the modules that it calls do the asking
and the printing. Nothing here imports the hub or the spoke: the command line knows their contract, `federation`.
"""
