"""Errors of calls to an API server, in the two kinds that callers handle differently.

`Transient` is retried with back-off; `Terminal` becomes a condition and is not retried until something changes.
The client translates the transport's errors into these and keeps `__cause__`.
"""


class KubeError(Exception):
    """Any failed call to an API server."""


class Transient(KubeError):
    """The same call may succeed later."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the server asked to wait (`Retry-After`), or None."""


class Conflict(Transient):
    """409 on a write with a stale resourceVersion or a contested field: read again, then retry."""


class Unavailable(Transient):
    """No answer, 408, 429 or 5xx."""


class Terminal(KubeError):
    """The same call will fail again."""


class NotFound(Terminal):
    """404."""


class AlreadyExists(Terminal):
    """409 on create."""


class Gone(Terminal):
    """410: the resourceVersion or continue token is too old; list again."""


class Denied(Terminal):
    """401 or 403."""


class Invalid(Terminal):
    """400, 422 or any other refusal of the request itself."""
