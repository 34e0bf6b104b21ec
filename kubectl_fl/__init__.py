"""`kubectl fl`: show a run, follow it, print its logs, download its model, and find what keeps it from starting.

Clusters are reached through the user's kubectl, so no second configuration and no Kubernetes client are needed.
Imports go down only: app > commands > kubectl, console > views > doctor > resources > errors, terminal_text; of the
other packages, `federation` alone.
"""
