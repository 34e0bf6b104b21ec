"""Run OpenFL 1.9's own `Collaborator` against this product's aggregator, in a collaborator's image.

`workspace` loads the user's unchanged `plan.yaml`, task runner and data loader, which OpenFL's own code then runs.
`round_client` replaces OpenFL's network client. `workarounds` contains the fixes for OpenFL's defects, except the one
that must precede its import (`pip_stub`). Only this package imports openfl.

`plan_export` validates a plan and converts it to data, so that the hub runs rounds without the user's code.
"""

from runtimes.openfl.pip_stub import stand_in_for_pip

stand_in_for_pip()
