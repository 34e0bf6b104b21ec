"""Errors that end a command; each message is shown to the user and names a remedy."""


class CommandError(Exception):
    """A failure of the command; exit code 1."""


class KubectlError(CommandError):
    """An error from kubectl, with its sanitized message."""


class ObjectNotFound(KubectlError):
    """An error for an object that does not exist."""


class AccessForbidden(KubectlError):
    """An error for a missing RBAC permission."""


class UsageError(Exception):
    """An invalid combination of arguments; exit code 2."""
