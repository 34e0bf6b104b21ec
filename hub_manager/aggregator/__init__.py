"""The process that runs a run's rounds: the round engine and the service through which collaborators reach it."""

import federation.rpc as _before_grpc  # noqa: F401 - it says there why
