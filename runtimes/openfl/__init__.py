"""The process in a collaborator's image: OpenFL 1.9's own `Collaborator`, speaking to our aggregator.

The user's `plan.yaml`, task runner and data loader are taken as they are (`workspace`), what OpenFL does with them is
OpenFL's own code, and underneath is a client of ours (`client`) in place of its network. What is wrong with OpenFL is
mended in one module (`traps`); nothing outside this package imports openfl.

`plan` judges a plan and turns it into data, so that the hub runs a round without any user code (`export`).
`exchange` is all that the process asks of its connection to the aggregator.
"""

from runtimes.openfl.pip_stub import stand_in_for_pip

stand_in_for_pip()
