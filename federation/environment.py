"""Settings from environment variables: every variable is looked at, and all that is wrong is said at once."""

import re
from collections.abc import Mapping
from typing import Final

from federation.api.dns_names import DNS_LABEL, DNS_NAME
from federation.logging import LOG_LEVELS, LogLevel

LABEL: Final = re.compile(DNS_LABEL)
NAME: Final = re.compile(DNS_NAME)
_SHOWN: Final = 80
"""Characters of a refused value that the message repeats."""


class ConfigError(Exception):
    """Settings that a process can't start with; the message names every one and its remedy."""


class Environment:
    """Reads variables one after the other, and remembers what is wrong with them until `check`."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._wrong: list[str] = []

    def text(self, name: str, default: str, pattern: re.Pattern[str], remedy: str) -> str:
        """The variable's value, which has to match the whole pattern."""
        value = self._variables.get(name, default)
        if not pattern.fullmatch(value):
            self.refuse(name, remedy)
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """The variable's value as a number within bounds."""
        value = self._variables.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            self.refuse(name, f"write a number from {least} to {most}")
            return default
        return int(value)

    def words(self, name: str, default: str, pattern: re.Pattern[str], remedy: str) -> tuple[str, ...]:
        """The variable's value as words separated by commas, each of which has to match the whole pattern."""
        words = tuple(word.strip() for word in self._variables.get(name, default).split(",") if word.strip())
        if not all(pattern.fullmatch(word) for word in words):
            self.refuse(name, remedy)
        return words

    def log_level(self) -> LogLevel:
        """`LOG_LEVEL`, info where it is not set."""
        level = self._variables.get("LOG_LEVEL", "info").lower()
        for known in LOG_LEVELS:
            if known == level:
                return known
        self.refuse("LOG_LEVEL", f"write one of {', '.join(LOG_LEVELS)}")
        return "info"

    def optional(self, name: str) -> str:
        """The variable's value, empty where it is not set; the caller judges it."""
        return self._variables.get(name, "")

    def refuse(self, name: str, remedy: str) -> None:
        """Remembers that the variable can't be used."""
        self._wrong.append(f"{name}={self._variables.get(name, '')[:_SHOWN]!r}: {remedy}")

    def check(self) -> None:
        """Raises ConfigError where anything was refused."""
        if self._wrong:
            raise ConfigError("; ".join(self._wrong))
