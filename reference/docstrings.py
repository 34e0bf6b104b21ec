"""Docstrings beneath fields, members and constants, which Python drops: read from the source by `ast`."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from functools import cache
from itertools import pairwise
from types import ModuleType


@cache
def documented(owner: type | ModuleType) -> dict[str, str]:
    """Return the docstring beneath each name that a class or a module assigns, as one line."""
    source = inspect.getsource(owner)
    body = ast.parse(textwrap.dedent(source)).body
    if isinstance(owner, type):
        (definition,) = body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
    return dict(_pairs(body))


def member_meanings(reasons: type[Enum]) -> dict[str, str]:
    """Return the docstring of each member by its value, in the order of the source.

    Raises:
        LookupError: A member has no docstring.
    """
    return {member.value: meaning(reasons, member.name) for member in reasons}


def meaning(owner: type | ModuleType, name: str) -> str:
    """Return the docstring beneath the name.

    Raises:
        LookupError: The docstring is missing.
    """
    found = documented(owner).get(name)
    if found is None:
        raise LookupError(f"{owner.__name__}.{name}: write a docstring beneath it")
    return found


def summary(owner: type) -> str:
    """Return the first paragraph of a class's docstring, as one line."""
    return _one_line((owner.__doc__ or "").strip().partition("\n\n")[0])


def whole(owner: type) -> str:
    """Return a class's docstring, as one line."""
    return _one_line(owner.__doc__ or "")


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, following in pairwise(body):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                yield name, _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(text.split())
