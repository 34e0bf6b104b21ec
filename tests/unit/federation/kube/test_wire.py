"""The requests to a server, and the meaning of its responses."""

import json
from typing import Any

import pytest

from federation.kube.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    Terminal,
    Transient,
    Unavailable,
)
from federation.kube.kinds import CONFIG_MAP, LEASE, NAMESPACE
from federation.kube.wire import error_from, event_from, object_from, page_from, path_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (path_of(CONFIG_MAP, ""), "/api/v1/configmaps"),
        (path_of(CONFIG_MAP, "ns"), "/api/v1/namespaces/ns/configmaps"),
        (path_of(CONFIG_MAP, "ns", "a"), "/api/v1/namespaces/ns/configmaps/a"),
        (path_of(LEASE, "ns", "a"), "/apis/coordination.k8s.io/v1/namespaces/ns/leases/a"),
        (path_of(NAMESPACE, "", "a", "status"), "/api/v1/namespaces/a/status"),
        (path_of(CONFIG_MAP, "ns", "../a?b#c/d"), "/api/v1/namespaces/ns/configmaps/..%2Fa%3Fb%23c%2Fd"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    assert path == expected


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_a_server_would_resolve_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        path_of(CONFIG_MAP, "ns", name)


@pytest.mark.parametrize(
    ("code", "status", "expected", "kind"),
    [
        (400, {}, Invalid, Terminal),
        (401, {}, Denied, Terminal),
        (403, {}, Denied, Terminal),
        (404, {}, NotFound, Terminal),
        (405, {}, Invalid, Terminal),
        (408, {}, Unavailable, Transient),
        (409, {"reason": "Conflict"}, Conflict, Transient),
        (409, {"reason": "AlreadyExists"}, AlreadyExists, Terminal),
        (410, {"reason": "Expired"}, Gone, Terminal),
        (413, {}, Invalid, Terminal),
        (422, {}, Invalid, Terminal),
        (429, {}, Unavailable, Transient),
        (500, {}, Unavailable, Transient),
        (503, {}, Unavailable, Transient),
        (504, {"details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}, Gone, Terminal),
    ],
)
def test_errors(code: int, status: dict[str, Any], expected: type[KubeError], kind: type[KubeError]) -> None:
    error = error_from(code, json.dumps({"kind": "Status", "message": "because", **status}).encode())
    assert type(error) is expected
    assert isinstance(error, kind)
    assert "because" in str(error)


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        ("7", b"{}", 7),
        ("", b'{"details": {"retryAfterSeconds": 3}}', 3),
        ("Wed, 21 Oct 2015", b"{}", None),
        ("", b"", None),
    ],
)
def test_how_long_a_server_asks_to_wait(header: str, body: bytes, seconds: float | None) -> None:
    error = error_from(429, body, header)
    assert isinstance(error, Unavailable)
    assert error.retry_after == seconds


def test_an_answer_that_is_no_status_is_still_an_error_of_its_code() -> None:
    error = error_from(502, b"<html>bad gateway</html>")
    assert isinstance(error, Unavailable)
    assert "bad gateway" in str(error)


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": "5", "managedFields": [{"manager": "m"}]}, **more}


def test_an_object_that_cannot_be_read_is_named_with_its_field() -> None:
    with pytest.raises(Invalid, match=r"ConfigMap 'a'.*data"):
        object_from(CONFIG_MAP, json.dumps(named("a", data=[1])).encode())


def test_a_page_skips_and_reports_invalid_objects() -> None:
    body = {"metadata": {"resourceVersion": "9", "continue": "c"}, "items": [named("bad", data=3), named("good")]}
    page, refused = page_from(CONFIG_MAP, json.dumps(body).encode())
    assert ([item.metadata.name for item in page.items], page.resource_version, page.continue_) == (["good"], "9", "c")
    assert "'bad'" in str(refused[0])


def test_a_list_without_items_is_empty() -> None:
    page, refused = page_from(CONFIG_MAP, b'{"metadata": {"resourceVersion": "9"}, "items": null}')
    assert (page.items, page.continue_, refused) == ((), "", ())


def test_an_object_that_became_invalid_is_shown_as_deleted() -> None:
    line = json.dumps({"type": "MODIFIED", "object": named("a", data=3)}).encode()
    event, refused = event_from(CONFIG_MAP, line)
    assert event.object is not None
    assert (event.type, event.object.metadata.name, event.resource_version) == ("DELETED", "a", "5")
    assert refused is not None


def test_a_bookmark_carries_its_version_alone() -> None:
    line = b'{"type": "BOOKMARK", "object": {"kind": "ConfigMap", "metadata": {"resourceVersion": "12"}}}'
    event, _ = event_from(CONFIG_MAP, line)
    assert (event.type, event.object, event.resource_version) == ("BOOKMARK", None, "12")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}', Gone),
        (b'{"type": "ERROR", "object": {"code": 500, "message": "etcd"}}', Unavailable),
        (b'{"type": "ERROR", "object": {}}', Unavailable),
        (b'{"type": "PURGED", "object": {}}', Unavailable),
        (b'{"type": "ADDED", "obj', Unavailable),
    ],
)
def test_an_error_in_a_watch_is_raised(line: bytes, expected: type[KubeError]) -> None:
    with pytest.raises(expected):
        event_from(CONFIG_MAP, line)
