"""The one trap of OpenFL that has to be dealt with before OpenFL is imported; all others are in `traps`.

OpenFL 1.9 imports `pip._internal.operations.freeze` (`openfl/utilities/workspace.py`, for `fx workspace export`) and
doesn't declare pip. An image made from a lock has none, and a program that installs code is nothing to put beside a
site's data for the sake of an import.
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Final

_PACKAGES: Final = ("pip", "pip._internal", "pip._internal.operations", "pip._internal.operations.freeze")


def stand_in_for_pip() -> None:
    """Makes OpenFL importable where it is installed and pip is not: by modules of that name with nothing in them."""
    if find_spec("openfl") is None or "pip" in sys.modules or find_spec("pip") is not None:
        return
    modules = {
        name: ModuleType(name, "Stands in for pip, which OpenFL imports and never declares.") for name in _PACKAGES
    }
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
        sys.modules[name] = module
