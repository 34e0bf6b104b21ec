"""How an API server merges what clients send: JSON merge patch (RFC 7386), and server-side apply (KEP-555).

Both are pure. Apply is simplified: fields are known by their paths, a list is atomic unless `LIST_KEYS` names the keys
of its entries (as the list-type markers of the real schemas do), and only leaves are owned.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from federation.kube.errors import Conflict
from federation.kube.resource import Json

LIST_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "clusters": ("name",),
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "scores": ("name",),
    "supportedConfigs": ("group", "resource"),
    "volumes": ("name",),
}
SETS: Final = frozenset({"finalizers"})
OTHERS: Final = "(update)"
"""The manager of whatever was written without apply."""

Step = str | tuple[tuple[str, str], ...]
Path = tuple[Step, ...]
Owners = Mapping[str, frozenset[Path]]


def merge_patch(target: Any, patch: Any) -> Any:
    """The target after the patch; null removes (RFC 7386, section 2)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every owned place of a structure, and what is there."""
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from leaves(child, (*path, name))
    elif isinstance(value, list) and path and path[-1] in SETS:
        for entry in value:
            yield (*path, (("", entry),)), entry
    elif isinstance(value, list) and value and path and _keyed(path[-1], value):
        for entry in value:
            yield from leaves(entry, (*path, _identity(path[-1], entry)))
    else:
        yield path, value


def apply(
    live: Json, body: Json, owners: Owners, manager: str, *, force: bool
) -> tuple[Json, dict[str, frozenset[Path]]]:
    """The object and its owners after the manager applied `body`.

    What the manager applied before and leaves out now is removed, unless another manager owns it too.

    Raises:
        Conflict: another manager owns a field that would change, and `force` is false.
    """
    present, wanted = dict(leaves(live)), dict(leaves(body))
    contested = {
        path
        for path, value in wanted.items()
        if present.get(path, value) != value and any(path in owned for who, owned in owners.items() if who != manager)
    }
    if contested and not force:
        raise Conflict(f"Apply failed with {len(contested)} conflicts: {sorted(map(str, contested))}")
    left = {who: owned - contested for who, owned in owners.items() if who != manager}
    dropped = owners.get(manager, frozenset()) - wanted.keys() - frozenset().union(*left.values())
    merged = _overlay(live, body)
    for path in dropped:
        _remove(merged, path)
    return merged, {**left, manager: frozenset(wanted)}


def owned_part(body: Json, subresource: str) -> Json:
    """The ownable fields of an apply configuration."""
    if subresource:
        return {"status": body["status"]} if "status" in body else {}
    identity = {"name", "namespace", "uid", "resourceVersion", "managedFields"}
    metadata = {name: value for name, value in (body.get("metadata") or {}).items() if name not in identity}
    rest = {name: value for name, value in body.items() if name not in {"apiVersion", "kind", "metadata", "status"}}
    return {**rest, **({"metadata": metadata} if metadata else {})}


def update(before: Json, after: Json, owners: Owners) -> dict[str, frozenset[Path]]:
    """The owners once a write without apply made `after` of `before`: it takes what it changed."""
    old, new = dict(leaves(before)), dict(leaves(after))
    changed = frozenset(path for path, value in new.items() if path not in old or old[path] != value)
    gone = frozenset(old.keys() - new.keys())
    kept = {who: owned - changed - gone for who, owned in owners.items()}
    return {**kept, OTHERS: kept.get(OTHERS, frozenset()) | changed}


def _keyed(field: Step, entries: list[Any]) -> bool:
    keys = LIST_KEYS.get(field) if isinstance(field, str) else None
    return keys is not None and all(isinstance(entry, dict) and keys[-1] in entry for entry in entries)


def _identity(field: Step, entry: Json) -> tuple[tuple[str, str], ...]:
    assert isinstance(field, str)
    return tuple((key, str(entry.get(key, ""))) for key in LIST_KEYS[field])


def _overlay(live: Any, body: Any, field: Step = "") -> Any:
    if isinstance(live, dict) and isinstance(body, dict):
        return {**live, **{name: _overlay(live.get(name), child, name) for name, child in body.items()}}
    if isinstance(live, list) and isinstance(body, list):
        if field in SETS:
            return live + [entry for entry in body if entry not in live]
        if live and body and _keyed(field, live + body):
            merged = {_identity(field, entry): entry for entry in live}
            for entry in body:
                identity = _identity(field, entry)
                merged[identity] = _overlay(merged.get(identity), entry)
            return list(merged.values())
    return copy.deepcopy(body)


def _remove(node: Any, path: Path) -> None:
    """Removes one leaf, and what it leaves empty."""
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if not isinstance(node, dict) or step not in node:
            return
        if rest:
            _remove(node[step], rest)
        if not rest or node[step] in ({}, []):
            del node[step]
    elif isinstance(node, list):
        for entry in list(node):
            if step == (("", entry),):
                node.remove(entry)
            elif isinstance(entry, dict) and all(str(entry.get(key, "")) == value for key, value in step if key):
                _remove(entry, rest)
                if any(key not in entry for key, _ in step if key):
                    node.remove(entry)
