"""Replace pip with empty modules before OpenFL is imported; all other fixes are in `workarounds`.

OpenFL 1.9 imports `pip._internal.operations.freeze` (`openfl/utilities/workspace.py`, for `fx workspace export`) and
doesn't declare pip. An image built from a lock has no pip, and a program that installs code should not run next to a
site's data.
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Final

_PACKAGES: Final = ("pip", "pip._internal", "pip._internal.operations", "pip._internal.operations.freeze")


def stand_in_for_pip() -> None:
    """Create empty modules in the name of pip, if OpenFL is installed and pip is not."""
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
