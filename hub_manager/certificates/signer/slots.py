"""Convert the authority's slots to the data of a Secret and back.

One Secret holds all slots, so that one write with its resourceVersion takes a whole step, or loses a race and changes
nothing.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from federation.pki.certificate import Issuer, certificate_pem, private_key_pem
from federation.pki.chain import BundleRefused, fingerprint, parse_bundle, render_bundle
from hub_manager.certificates.signer.authority import Authority, Prepared, Retired
from hub_manager.certificates.signer.provided_ca import SecretRefused, read_issuer

CURRENT: Final = ("current.crt", "current.key")
NEXT: Final = ("next.crt", "next.key")
RETIRED_KEY: Final = "retired.crt"
RECORD_KEY: Final = "record.json"


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of the state that the certificates do not contain."""

    leaf_life_seconds: int
    next_since: datetime | None = None
    retired_until: dict[str, datetime] = msgspec.field(default_factory=dict)
    """By the certificate's fingerprint."""


def write_slots(state: Authority) -> dict[str, bytes]:
    """Encode the slots as the data of the Secret, including private keys."""
    record = _Record(
        leaf_life_seconds=int(state.leaf_life.total_seconds()),
        next_since=state.next.since if state.next is not None else None,
        retired_until={fingerprint(retired.certificate): retired.until for retired in state.retired},
    )
    data = _write_issuer(state.current, CURRENT) | {RECORD_KEY: msgspec.json.encode(record)}
    if state.next is not None:
        data |= _write_issuer(state.next.issuer, NEXT)
    if state.retired:
        data[RETIRED_KEY] = render_bundle(retired.certificate for retired in state.retired).encode()
    return data


def read_slots(data: Mapping[str, bytes]) -> Authority:
    """Decode the slots from the data of the Secret.

    Raises:
        SecretRefused: A key is missing or invalid. The administrator must restore the Secret, or delete it for a new
            authority, after which every certificate is issued again.
    """
    try:
        record = msgspec.json.decode(data.get(RECORD_KEY, b""), type=_Record)
    except msgspec.DecodeError as error:
        raise SecretRefused(
            RECORD_KEY, "it cannot be decoded: restore the Secret, or delete it for a new authority"
        ) from error
    coming = None
    if record.next_since is not None:
        coming = Prepared(read_issuer(data, *NEXT), record.next_since)
    return Authority(
        current=read_issuer(data, *CURRENT),
        leaf_life=timedelta(seconds=record.leaf_life_seconds),
        next=coming,
        retired=_read_retired(data, record.retired_until),
    )


def _read_retired(data: Mapping[str, bytes], until: Mapping[str, datetime]) -> tuple[Retired, ...]:
    if not until:
        return ()
    try:
        certificates = parse_bundle(data.get(RETIRED_KEY, b"").decode("ascii", "replace"))
    except BundleRefused as error:
        raise SecretRefused(RETIRED_KEY, str(error)) from error
    found = {fingerprint(certificate): certificate for certificate in certificates}
    if found.keys() != until.keys():
        raise SecretRefused(
            RETIRED_KEY,
            f"its certificates do not match {RECORD_KEY}: restore the Secret, or delete it for a new authority",
        )
    return tuple(Retired(found[digest], when) for digest, when in until.items())


def _write_issuer(issuer: Issuer, keys: tuple[str, str]) -> dict[str, bytes]:
    certificate_key, private_key = keys
    return {
        certificate_key: certificate_pem(issuer.certificate).encode(),
        private_key: private_key_pem(issuer.key).encode(),
    }
