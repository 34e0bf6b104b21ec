"""The processes that a collaborator's container runs, one package per framework.

`runtimes.openfl` imports `runtimes.kit`; `runtimes.kit` imports `federation` and no framework.
"""
