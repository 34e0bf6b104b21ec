"""Certificate requests as klusterlets and as attackers make them, and the hub's objects around them.

`request_pem` and `signing_request` give the honest collaborator's request of a cluster; a test names what it changes.
"""

import base64
import functools
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from federation.api.identity import (
    ADDON_LABEL,
    ADDON_NAME,
    CLUSTER_LABEL,
    COLLABORATOR_SIGNER,
    KUBE_CLIENT_SIGNER,
    Subject,
    collaborator_subject,
    dns_name,
)
from federation.api.kubernetes.certificates import CertificateSigningRequest
from federation.api.ocm.addon import ADDON_GROUP, ClusterManagementAddOn, ManagedClusterAddOn
from federation.api.ocm.cluster import ManagedCluster

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

C1: Final = collaborator_subject("c1")
NOW: Final = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
FLEET_UID: Final = "5f1e7a70-0000-4000-8000-000000000001"

MADE_BY_GO: Final = b"""-----BEGIN CERTIFICATE REQUEST-----
MIICCDCCAa4CAQAwgfoxgYswPgYDVQQKEzdzeXN0ZW06b3Blbi1jbHVzdGVyLW1h
bmFnZW1lbnQ6YWRkb246ZmVkZXJhdGVkLWxlYXJuaW5nMEkGA1UEChNCc3lzdGVt
Om9wZW4tY2x1c3Rlci1tYW5hZ2VtZW50OmNsdXN0ZXI6YzE6YWRkb246ZmVkZXJh
dGVkLWxlYXJuaW5nMWowaAYDVQQDE2FzeXN0ZW06b3Blbi1jbHVzdGVyLW1hbmFn
ZW1lbnQ6Y2x1c3RlcjpjMTphZGRvbjpmZWRlcmF0ZWQtbGVhcm5pbmc6YWdlbnQ6
ZmVkZXJhdGVkLWxlYXJuaW5nLWFnZW50MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEXuPlLHbaxWErFSlJeJiEzNRCQXpoIOeZU5KSoMqGPAdqE9WuIRGy8rkjFYNU
rG/Aae5swBgHILxBkqLj9/sCMKBRME8GCSqGSIb3DQEJDjFCMEAwPgYDVR0RBDcw
NYIzZmVkZXJhdGVkLWxlYXJuaW5nLmFkZG9uLm9wZW4tY2x1c3Rlci1tYW5hZ2Vt
ZW50LmlvMAoGCCqGSM49BAMCA0gAMEUCIAW84dUOwXF4g53sAt2XS99MQfjtsOf3
ZcF8SGMDW2WbAiEA+dAWfyp8ncRsj4RmAwFi2lb9veo9rx6g+d9aCw1FKCY=
-----END CERTIFICATE REQUEST-----
"""
"""The request of cluster c1's agent as client-go's `cert.MakeCSR` makes it: both organisations in one RDN."""


_CURVES: Final = {"p224": ec.SECP224R1(), "p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}


@functools.cache
def key_of(name: str) -> Key:
    """One private key of the sort, the same for the whole run; `"another p256"` is a second one."""
    sort = name.rsplit(maxsplit=1)[-1]
    if sort in _CURVES:
        return ec.generate_private_key(_CURVES[sort])
    if sort == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if sort == "ed448":
        return ed448.Ed448PrivateKey.generate()
    return rsa.generate_private_key(65537, int(sort.removeprefix("rsa")))


def public_der(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def request_pem(
    subject: Subject = C1,
    *,
    key: str = "p256",
    names: Sequence[x509.GeneralName] = (x509.DNSName(dns_name()),),
    attributes: Mapping[x509.ObjectIdentifier, str] | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    challenge: bytes = b"",
    break_signature: bool = False,
) -> bytes:
    """A PEM request; the organisations share one relative distinguished name, as Go writes them."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject, attributes or {}))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    if challenge:
        builder = builder.add_attribute(x509.ObjectIdentifier("1.2.840.113549.1.9.7"), challenge)
    private = key_of(key)
    hashed = None if isinstance(private, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    der = builder.sign(private, hashed).public_bytes(serialization.Encoding.DER)
    return armour(der[:-1] + bytes([der[-1] ^ 1]) if break_signature else der)


def armour(der: bytes, label: str = "CERTIFICATE REQUEST") -> bytes:
    """The DER as one PEM block."""
    lines = re.sub(rb"(.{64})", rb"\1\n", base64.b64encode(der))
    return f"-----BEGIN {label}-----\n".encode() + lines.rstrip(b"\n") + f"\n-----END {label}-----\n".encode()


def subject_of(certificate: bytes) -> str:
    """The subject of a PEM certificate by RFC 4514; an agent's common name is longer than X.520's 64 characters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return x509.load_pem_x509_certificate(certificate).subject.rfc4514_string()


def _name(subject: Subject, attributes: Mapping[x509.ObjectIdentifier, str]) -> x509.Name:
    rows = [
        (NameOID.ORGANIZATION_NAME, subject.groups),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, subject.organization_units),
        (NameOID.COMMON_NAME, (subject.user,) if subject.user else ()),
        *((oid, (value,)) for oid, value in attributes.items()),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # OCM's names are longer than X.520's 64 characters
        return x509.Name(
            x509.RelativeDistinguishedName(
                [x509.NameAttribute(oid, value, _validate=False) for value in sorted(set(values))]
            )
            for oid, values in rows
            if values
        )


def signing_request(cluster: str = "c1", /, **changes: Any) -> dict[str, Any]:
    """The object that the klusterlet of a cluster makes for the collaborators' signer, as JSON.

    Args:
        cluster: Whose klusterlet makes it.
        **changes: `name`, `labels`, `annotations` or `created` of the metadata, `uid`, `status`; any other names a
            field of `spec` in the wire's spelling.
    """
    signer = changes.get("signerName", COLLABORATOR_SIGNER)
    metadata = {
        "name": changes.pop("name", f"addon-{cluster}-{ADDON_NAME}-"[:58] + "x7k2p"),
        "uid": changes.pop("uid", "c5e00000-0000-4000-8000-000000000001"),
        "creationTimestamp": changes.pop("created", "2030-01-01T12:00:00Z"),
        "labels": changes.pop("labels", {CLUSTER_LABEL: cluster, ADDON_LABEL: ADDON_NAME}),
        "annotations": changes.pop("annotations", {}),
    }
    status = changes.pop("status", {})
    if "request" not in changes:
        changes["request"] = request_pem(collaborator_subject(cluster))
    changes["request"] = base64.b64encode(changes["request"]).decode()
    spec = {
        "signerName": signer,
        "username": f"system:open-cluster-management:{cluster}:agent1",
        "groups": [
            f"system:open-cluster-management:{cluster}",
            "system:open-cluster-management:managed-clusters",
            "system:authenticated",
        ],
        "usages": ["digital signature", "key encipherment", "client auth"],
        **changes,
    }
    return {"metadata": metadata, "spec": spec, "status": status}


def decoded_request(cluster: str = "c1", /, **changes: Any) -> CertificateSigningRequest:
    """`signing_request`, decoded."""
    return msgspec.convert(signing_request(cluster, **changes), CertificateSigningRequest)


def condition(kind: str, reason: str = "", at: str = "2030-01-01T12:00:00Z") -> dict[str, str]:
    """One condition of a request's status."""
    return {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": at}


def cluster_object(name: str = "c1", *, accepted: bool = True, deleting: bool = False) -> dict[str, Any]:
    """A ManagedCluster as JSON."""
    metadata: dict[str, Any] = {"name": name}
    if deleting:
        metadata |= {"deletionTimestamp": "2030-01-01T11:00:00Z", "finalizers": ["cleanup"]}
    return {"metadata": metadata, "spec": {"hubAcceptsClient": accepted}}


def addon_object(
    cluster: str = "c1",
    *,
    owned: bool = True,
    deleting: bool = False,
    signers: Sequence[str] = (COLLABORATOR_SIGNER, KUBE_CLIENT_SIGNER),
) -> dict[str, Any]:
    """A cluster's add-on as JSON, with its registrations written."""
    metadata: dict[str, Any] = {"name": ADDON_NAME, "namespace": cluster}
    if owned:
        owner = {"kind": "ClusterManagementAddOn", "name": ADDON_NAME, "uid": FLEET_UID}
        metadata["ownerReferences"] = [{"apiVersion": f"{ADDON_GROUP}/v1beta1", **owner}]
    if deleting:
        metadata |= {"deletionTimestamp": "2030-01-01T11:00:00Z", "finalizers": ["cleanup"]}
    return {"metadata": metadata, "status": {"registrations": [{"signerName": signer} for signer in signers]}}


def cluster_management_addon_object() -> dict[str, Any]:
    """The add-on of the fleet as JSON."""
    return {"metadata": {"name": ADDON_NAME, "uid": FLEET_UID}}


def cluster(name: str = "c1", **changes: bool) -> ManagedCluster:
    """A ManagedCluster, accepted."""
    return msgspec.convert(cluster_object(name, **changes), ManagedCluster)


def addon(name: str = "c1", **changes: Any) -> ManagedClusterAddOn:
    """A cluster's add-on, owned by the fleet's and registered with both signers."""
    return msgspec.convert(addon_object(name, **changes), ManagedClusterAddOn)


def cluster_management_addon() -> ClusterManagementAddOn:
    """The add-on of the fleet."""
    return msgspec.convert(cluster_management_addon_object(), ClusterManagementAddOn)
