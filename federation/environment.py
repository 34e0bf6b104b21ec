"""Read settings from environment variables, and report all invalid ones together."""

import re
from collections.abc import Mapping
from typing import Final

from federation.api.dns_names import DNS_LABEL, DNS_NAME
from federation.logging import LOG_LEVELS, LogLevel

LABEL: Final = re.compile(DNS_LABEL)
NAME: Final = re.compile(DNS_NAME)
_SHOWN: Final = 80
"""Maximum characters of an invalid value in the message."""


class ConfigError(Exception):
    """Settings are invalid; the message names every one and its remedy."""


class Environment:
    """Reader of variables, which collects the invalid ones until `check`."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._invalid: list[str] = []

    def text(self, name: str, default: str, pattern: re.Pattern[str], remedy: str) -> str:
        """Return the variable's value, which must match the whole pattern."""
        value = self._variables.get(name, default)
        if not pattern.fullmatch(value):
            self.refuse(name, remedy)
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return the variable's value as a number within limits."""
        value = self._variables.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            self.refuse(name, f"write a number from {least} to {most}")
            return default
        return int(value)

    def words(self, name: str, default: str, pattern: re.Pattern[str], remedy: str) -> tuple[str, ...]:
        """Return the variable's words, separated by commas, each of which must match the whole pattern."""
        words = tuple(word.strip() for word in self._variables.get(name, default).split(",") if word.strip())
        if not all(pattern.fullmatch(word) for word in words):
            self.refuse(name, remedy)
        return words

    def log_level(self) -> LogLevel:
        """Return `LOG_LEVEL`, info if it is not set."""
        level = self._variables.get("LOG_LEVEL", "info").lower()
        for known in LOG_LEVELS:
            if known == level:
                return known
        self.refuse("LOG_LEVEL", f"write one of {', '.join(LOG_LEVELS)}")
        return "info"

    def optional(self, name: str) -> str:
        """Return the variable's value without a check, empty if it is not set."""
        return self._variables.get(name, "")

    def refuse(self, name: str, remedy: str) -> None:
        """Record the variable as invalid."""
        self._invalid.append(f"{name}={self._variables.get(name, '')[:_SHOWN]!r}: {remedy}")

    def check(self) -> None:
        """Raise ConfigError if any variable is invalid."""
        if self._invalid:
            raise ConfigError("; ".join(self._invalid))
