"""When a signature was made, as timestamps and log entries next to it prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seawall.features.trust.anchors import SIGNERS, Anchor
from seawall.features.trust.certificates import CHAIN_LENGTH
from seawall.features.trust.encoding import get, read_json, unbase64
from seawall.features.trust.times import LogEntry, Moment, Witness, logged, stamped

_LOG = "dev.sigstore.cosign/bundle"
_STAMP = "dev.sigstore.cosign/rfc3161timestamp"

Proofs = tuple[list[bytes], list[LogEntry]]


def annotated_proofs(annotations: Mapping[str, str]) -> Proofs:
    """Timestamps and log entries next to a signature in cosign's annotations."""
    entry = read_json(annotations.get(_LOG, "").encode())
    payload = get(entry, "Payload")
    stamp = unbase64(get(read_json(annotations.get(_STAMP, "").encode()), "SignedRFC3161Timestamp"))
    values = [get(payload, name) for name in ("body", "integratedTime", "logID", "logIndex")]
    found = _entry(values[0], values[1], values[2], values[3], get(entry, "SignedEntryTimestamp"))
    return [stamp] if stamp else [], [found] if found else []


def bundled_proofs(material: Any) -> Proofs:
    """The same of a sigstore bundle; its integers may be text (protobuf's JSON)."""
    listed = get(get(material, "timestampVerificationData"), "rfc3161Timestamps")
    stamps = [unbase64(get(item, "signedTimestamp")) for item in listed] if isinstance(listed, list) else []
    entries = get(material, "tlogEntries")
    found = []
    for item in entries[:CHAIN_LENGTH] if isinstance(entries, list) else ():
        key = unbase64(get(get(item, "logId"), "keyId"))
        numbers = [_integer(get(item, name)) for name in ("integratedTime", "logIndex")]
        promise = get(get(item, "inclusionPromise"), "signedEntryTimestamp")
        body, log_id = get(item, "canonicalizedBody"), key.hex() if key else None
        made = _entry(body, numbers[0], log_id, numbers[1], promise)
        if made is not None:
            found.append(made)
    return [stamp for stamp in stamps if stamp], found


def _integer(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else None


def _entry(body: Any, integrated: Any, log_id: Any, index: Any, promise: Any) -> LogEntry | None:
    signature = unbase64(promise)
    if not isinstance(body, str) or not isinstance(log_id, str) or signature is None:
        return None
    if type(integrated) is not int or type(index) is not int or not 0 < integrated < 1 << 36:
        return None
    return LogEntry(body, integrated, log_id, index, signature)


def moment_of(
    proofs: Proofs, messages: list[bytes], digest: bytes, anchors: Sequence[Anchor]
) -> Moment | None:
    """When the signature (first of `messages`) over what has SHA-256 `digest` was made, if that is proven."""
    witnesses = [Witness(a.name, a.kind, a.pem) for a in anchors if a.kind not in SIGNERS]
    if not witnesses:
        return None
    stamps, entries = proofs
    return stamped(stamps, [m for m in messages if m], witnesses) or logged(
        entries, messages[0], digest, witnesses
    )
