"""The rules that an API server enforces on certificate signing requests of every user."""

import base64
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from federation.api.meta import Resource, Struct
from federation.kube.errors import Invalid
from federation.kube.resource import Json, Kind, ObjectKey
from fleet.cluster.credentials import Authority
from tests.support.api_server.served import Served


class RequestCondition(Struct, frozen=True):
    """One entry of a certificate signing request's conditions."""

    type: str


class RequestStatus(Struct, frozen=True):
    """The result of a certificate signing request."""

    conditions: tuple[RequestCondition, ...] = ()
    certificate: bytes = b""


class Request(Resource, frozen=True):
    """A certificate signing request."""

    status: RequestStatus = RequestStatus()


REQUEST: Final = Kind(
    group="certificates.k8s.io",
    version="v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    struct=Request,
)


def request_body(name: str) -> Json:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": pem, "signerName": "example.com/signer", "usages": ["client auth"]}
    return {"metadata": {"name": name}, "spec": spec}


def certificate_body() -> str:
    pair = Authority("signer").pair
    return base64.b64encode(pair.certificate).decode()


def condition(kind: str) -> Json:
    return {"type": kind, "status": "True", "reason": "Tested", "message": "by the contract"}


async def test_a_request_is_decided_at_approval_and_signed_at_status(served: Served) -> None:
    key = ObjectKey("", f"{served.namespace}-a")
    made = await served.api.create(
        REQUEST, {**request_body(key.name), "status": {"conditions": [condition("Approved")]}}
    )
    assert made.status.conditions == ()

    raw = await served.api.read_raw(REQUEST, key)
    raw["status"] = {"conditions": [condition("Approved")]}
    with pytest.raises(Invalid):
        await served.api.replace(REQUEST, key, raw, subresource="status")
    approved = await served.api.replace(REQUEST, key, raw, subresource="approval")
    assert [each.type for each in approved.status.conditions] == ["Approved"]

    raw = await served.api.read_raw(REQUEST, key)
    certificate = certificate_body()
    raw["status"]["certificate"] = certificate
    ignored = await served.api.replace(REQUEST, key, raw, subresource="approval")
    assert not ignored.status.certificate
    raw["metadata"]["resourceVersion"] = ignored.metadata.resource_version
    signed = await served.api.replace(REQUEST, key, raw, subresource="status")
    assert signed.status.certificate == base64.b64decode(certificate)

    patch: Json = {"status": {"certificate": certificate_body()}}
    with pytest.raises(Invalid):
        await served.api.merge_patch(REQUEST, key, patch, subresource="status")


async def test_a_decision_on_a_request_is_final(served: Served) -> None:
    key = ObjectKey("", f"{served.namespace}-b")
    await served.api.create(REQUEST, request_body(key.name))
    raw = await served.api.read_raw(REQUEST, key)
    raw["status"] = {"conditions": [condition("Denied")]}
    await served.api.replace(REQUEST, key, raw, subresource="approval")
    raw = await served.api.read_raw(REQUEST, key)
    for conditions in ([], [condition("Approved")], [condition("Denied"), condition("Approved")]):
        raw["status"]["conditions"] = conditions
        with pytest.raises(Invalid):
            await served.api.replace(REQUEST, key, raw, subresource="approval")
