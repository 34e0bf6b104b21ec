"""What ends a command before it is done: a sentence for the person who typed it, with the remedy."""


class CommandError(Exception):
    """The command can't be carried out; exit code 1."""


class KubectlError(CommandError):
    """kubectl refused, or could not reach the cluster; the message is its own, made safe to print."""


class ObjectNotFound(KubectlError):
    """The cluster has no object of that name."""


class AccessForbidden(KubectlError):
    """Whoever runs the command may not read or do that."""


class UsageError(Exception):
    """The command line can't be meant so; exit code 2."""
