"""`python -m kubectl_fl`, the same as `kubectl fl`."""

import sys

from kubectl_fl.app import main

sys.exit(main())
