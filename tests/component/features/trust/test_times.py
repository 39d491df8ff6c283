"""Times that timestamp authorities and transparency logs prove.

Signatures, entries and timestamps are made by sigstore's own JavaScript client, forty days ago by its clock:
its ten-minute certificates are long expired. Timestamps for notation are by openssl's authority.
"""

from __future__ import annotations

import base64
import datetime
import fnmatch
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from joserfc.registry import HeaderParameter
from pycose.keys.ec2 import EC2Key
from pycose.keys.rsa import RSAKey as CoseRSAKey
from pycose.messages.sign1message import Sign1Message

from seawall.features.trust import proofs as proofs_
from seawall.features.trust.anchors import Anchor, Verdict, read_anchor
from seawall.features.trust.cosign import cosign
from seawall.features.trust.notation import notation
from seawall.features.trust.signers import matches_pattern
from seawall.kernel.errors import InvalidError
from tests.support import signing
from tests.support.api import Api
from tests.support.digests import digest_of
from tests.support.registry import Registry
from tests.support.signing import Authority, Pusher

HERE = Path(__file__).parent / "sigstore"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
DAYS = 40
MANIFEST = b'{"schemaVersion": 2}'
DIGEST = digest_of(MANIFEST)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles about `DIGEST`."""
    return sign(tmp_path_factory.mktemp("sigstore"), MANIFEST)


def sign(out: Path, manifest: bytes) -> Path:
    """Have an image signed by sigstore's client; bundles, ca.pem, tsa.pem and log.pem go to `out`."""
    if not (HERE / "node_modules" / ".package-lock.json").exists():
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
    (out / "manifest").write_bytes(manifest)
    past = {
        "LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1",
        "FAKETIME": f"-{DAYS}d",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    done = subprocess.run(
        ["node", str(HERE / "make.mjs"), digest_of(manifest), str(out)],
        env={**os.environ, **past},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return out


def anchors(made: Path, *names: str) -> list[Anchor]:
    kinds = {"ca": "certificate", "tsa": "timestamp", "log": "log"}
    return [Anchor(name, kinds[name], (made / f"{name}.pem").read_text()) for name in names]


def check(made: Path, name: str, *trusted: str, change: Callable[[Any], None] | None = None) -> Verdict:
    bundle = json.loads((made / f"{name}.json").read_text())
    if change is not None:
        change(bundle)
    data = json.dumps(bundle).encode()
    return cosign(BUNDLE, {}, data, DIGEST, anchors(made, *trusted), time.time())


@pytest.mark.parametrize(
    ("name", "witness"),
    [
        ("log", "log"),
        ("intoto", "log"),
        ("stamp", "tsa"),
        ("both", "tsa"),
        ("message", "tsa"),
        ("slsa", "tsa"),
    ],
)
def test_expired_certificates_count_for_what_was_signed_before(made: Path, name: str, witness: str) -> None:
    # Pushed now, the certificate expired forty days ago: whoever pushes might have the old key.
    assert not check(made, name, "ca").valid
    found = check(made, name, "ca", "tsa", "log")
    assert (found.valid, found.signer) == (True, "ca")
    assert found.predicate == ("https://slsa.dev/provenance/v1" if name == "slsa" else None)
    assert found.moment is not None
    assert found.moment.witness == witness
    assert abs(found.moment.at - (time.time() - DAYS * 86400)) < 3600
    # A time is no signature.
    assert not check(made, name, "tsa", "log").valid


def test_a_log_or_authority_that_is_not_trusted_proves_nothing(made: Path) -> None:
    assert not check(made, "log", "ca", "tsa").valid
    assert not check(made, "stamp", "ca", "log").valid
    assert not check(made, "none", "ca", "tsa", "log").valid
    assert check(made, "message", "ca", "log").moment is not None
    strangers = [
        *anchors(made, "ca"),
        Anchor("other", "log", signing.public_pem(ec.generate_private_key(ec.SECP256R1()))),
        Anchor("other", "timestamp", signing.certificate_pem(Authority.make().certificate)),
    ]
    for name in ("log", "stamp", "both"):
        data = (made / f"{name}.json").read_bytes()
        assert not cosign(BUNDLE, {}, data, DIGEST, strangers, time.time()).valid


def entry(bundle: Any) -> Any:
    return bundle["verificationMaterial"]["tlogEntries"][0]


def test_log_entries_that_were_changed_prove_nothing(made: Path) -> None:
    def integrated(bundle: Any) -> None:
        entry(bundle)["integratedTime"] = str(int(entry(bundle)["integratedTime"]) + 1)

    def body(bundle: Any) -> None:
        # A true entry, of another signature.
        entry(bundle).update(entry(json.loads((made / "both.json").read_text())))

    def index(bundle: Any) -> None:
        entry(bundle)["logIndex"] = "7"

    def promise(bundle: Any) -> None:
        entry(bundle)["inclusionPromise"]["signedEntryTimestamp"] = base64.b64encode(b"x" * 70).decode()

    for change in (integrated, body, index, promise):
        assert not check(made, "log", "ca", "log", change=change).valid, change.__name__


def test_timestamps_of_something_else_prove_nothing(made: Path) -> None:
    def moved(bundle: Any) -> None:
        other = json.loads((made / "both.json").read_text())
        key = "timestampVerificationData"
        bundle["verificationMaterial"][key] = other["verificationMaterial"][key]

    def flipped(bundle: Any) -> None:
        item = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]
        data = bytearray(base64.b64decode(item["signedTimestamp"]))
        data[-1] ^= 1
        item["signedTimestamp"] = base64.b64encode(data).decode()

    def garbage(bundle: Any) -> None:
        item = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]
        item["signedTimestamp"] = base64.b64encode(b"0" * 50).decode()

    for change in (moved, flipped, garbage):
        assert not check(made, "stamp", "ca", "tsa", change=change).valid, change.__name__


def test_cosigns_annotations(made: Path) -> None:
    """The same proofs as cosign 2 keeps them, beside a simple signature."""
    bundle = json.loads((made / "message.json").read_text())
    found = entry(bundle)
    promise = {
        "SignedEntryTimestamp": found["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": found["canonicalizedBody"],
            "integratedTime": int(found["integratedTime"]),
            "logIndex": int(found["logIndex"]),
            "logID": base64.b64decode(found["logId"]["keyId"]).hex(),
        },
    }
    # The entry is about the manifest's bytes, so let those be what is signed.
    stamps = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    for annotation, value, trusted in (
        ("dev.sigstore.cosign/bundle", promise, "log"),
        (
            "dev.sigstore.cosign/rfc3161timestamp",
            {"SignedRFC3161Timestamp": stamps[0]["signedTimestamp"]},
            "tsa",
        ),
    ):
        proofs = proofs_.annotated_proofs({annotation: json.dumps(value)})
        signature = base64.b64decode(bundle["messageSignature"]["signature"])
        digest = bytes.fromhex(DIGEST.partition(":")[2])
        moment = proofs_.moment_of(proofs, [signature], digest, anchors(made, trusted))
        assert moment is not None
        assert moment.witness == trusted
        assert proofs_.moment_of(proofs, [signature[:-1]], digest, anchors(made, trusted)) is None
    for text in ("", "[]", "{}", '{"Payload": 3}', '{"Payload": {"integratedTime": true}}'):
        annotated = {"dev.sigstore.cosign/bundle": text, "dev.sigstore.cosign/rfc3161timestamp": text}
        assert proofs_.annotated_proofs(annotated) == ([], [])


def test_an_authority_confined_to_identities(made: Path) -> None:
    """Fulcio's certificates name who signed (ci@example.test) and who vouched for it (http://oidc.test)."""
    _, stamps = anchors(made, "ca", "tsa")
    data = (made / "stamp.json").read_bytes()
    for identities, wanted in (
        ([("http://oidc.test", "ci@example.test")], True),
        ([("", "*@example.test")], True),
        ([("http://oidc.test", "*")], True),
        ([("", "x"), ("", "ci@example.test")], True),
        ([("http://other.test", "ci@example.test")], False),
        ([("http://oidc.test", "ci@example.tes")], False),
        ([("", "c?@example.test")], False),
        ([("", "example.test")], False),
    ):
        confined = Anchor("ca", "certificate", (made / "ca.pem").read_text(), tuple(identities))
        found = cosign(BUNDLE, {}, data, DIGEST, [confined, stamps], time.time())
        assert found.valid is wanted, identities
    # A certificate without names is nobody's in particular.
    authority = Authority.make()
    key = ec.generate_private_key(ec.SECP256R1())
    envelope = signing.notation_jws(key, [authority.signer(key)], DIGEST)
    pem = signing.certificate_pem(authority.certificate)
    for confined_to in ((), (("", "ci@example.test"),)):
        anchor = Anchor("a", "certificate", pem, confined_to)
        found = notation("application/jose+json", envelope, DIGEST, [anchor], time.time())
        assert found.valid is (not confined_to)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_subjects_match_as_globs(pattern: str, name: str) -> None:
    assert matches_pattern(name, pattern) is fnmatch.fnmatchcase(name, pattern)


def test_the_policy_takes_what_sigstores_client_signed(registry: Registry, tmp_path: Path) -> None:
    """Through the registry: an image, its bundle as a referrer, an authority confined to who signed."""
    api = Api(registry, registry.admin)
    project = api.project(public="true")
    pusher = Pusher(registry.url, f"{project}/app", registry.admin)
    digest = pusher.image("v1")
    out = sign(tmp_path, pusher.pull("v1").content)
    pusher.accessory(digest, BUNDLE, (BUNDLE, (out / "both.json").read_bytes()))
    keys = f"/projects/{project}/trustedkeys"
    authority = {"name": "ca", "pem": (out / "ca.pem").read_text()}
    other = api.made(keys, {**authority, "identities": [{"subject": "other@example.test"}]})
    flags = {"enable_content_trust_cosign": "true"}
    assert api.put(f"/projects/{project}", json={"metadata": flags}).status_code == 200
    api.made(keys, {"name": "stamps", "pem": (out / "tsa.pem").read_text(), "usage": "timestamp"})
    assert pusher.pull("v1").status_code == 412
    assert api.delete(f"{keys}/{other}").status_code == 200
    ours = api.made(keys, {**authority, "identities": [{"subject": "ci@*", "issuer": "http://oidc.test"}]})
    assert pusher.pull("v1").status_code == 200
    path = f"/projects/{project}/repositories/app/artifacts/v1/signatures"
    [found] = api.get(path).json()
    assert (found["valid"], found["signer"], found["witness"]) == (True, "ca", "stamps")
    signed = datetime.datetime.fromisoformat(found["time"])
    assert abs(signed.timestamp() - (time.time() - DAYS * 86400)) < 3600
    # What is no longer trusted counts no longer, from the next pull on.
    assert api.delete(f"{keys}/{ours}").status_code == 200
    api.made(keys, {"name": "else", "pem": signing.public_pem(ec.generate_private_key(ec.SECP256R1()))})
    assert pusher.pull("v1").status_code == 412


# -- notation, with openssl's timestamp authority ------------------------------------------------------


def openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def tsa(folder: Path) -> tuple[x509.Certificate, x509.Certificate]:
    """(root, authority's certificate); with key and configuration in the folder."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = signing.issue("stamps", root_key, root_key, "stamps", ca=True)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tsa")]))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=60))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    (folder / "tsa.pem").write_text(signing.certificate_pem(certificate))
    (folder / "tsa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (folder / "serial").write_text("01")
    (folder / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa = a\n[a]\nserial = serial\ndefault_policy = 1.2.3.4\nsigner_digest = sha256\n"
        "digests = sha256\nordering = no\ness_cert_id_alg = sha256\n"
    )
    return root, certificate


def stamp(folder: Path, data: bytes) -> bytes:
    """A timestamp token (no response around it) over `data`."""
    (folder / "data").write_bytes(data)
    openssl(folder, "ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query")
    openssl(
        folder,
        *("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-signer", "tsa.pem", "-inkey"),
        *("tsa.key", "-token_out", "-out", "token"),
    )
    return (folder / "token").read_bytes()


@pytest.mark.parametrize("form", ["jws", "cose"])
def test_notations_timestamps(tmp_path: Path, form: str) -> None:
    root, own = tsa(tmp_path)
    authority = Authority.make()
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority.signer(key)
    if form == "jws":
        kind, envelope = "application/jose+json", json.loads(signing.notation_jws(key, [leaf], DIGEST))
        text = envelope["signature"]
        signature = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        envelope["header"]["io.cncf.notary.timestampSignature"] = signing.b64(stamp(tmp_path, signature))
        data = json.dumps(envelope).encode()
    else:
        kind, tagged = "application/cose", cbor2.loads(signing.notation_cose(key, [leaf], DIGEST))
        protected, unprotected, payload, signature = tagged.value
        unprotected = {**unprotected, "io.cncf.notary.timestampSignature": stamp(tmp_path, signature)}
        data = cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, payload, signature]))
    signer = Anchor("signer", "certificate", signing.certificate_pem(authority.certificate))
    long_after = time.time() + 50 * 86400  # when the signer's certificate has expired
    assert not notation(kind, data, DIGEST, [signer], long_after).valid
    with pytest.raises(InvalidError, match="issued"):
        read_anchor(signing.certificate_pem(own), "timestamp")
    for trusted in ([root], [own, root]):
        pem = "".join(signing.certificate_pem(item) for item in trusted)
        assert read_anchor(pem, "timestamp")[0] == "timestamp"
        witness = Anchor("stamps", "timestamp", pem)
        found = notation(kind, data, DIGEST, [signer, witness], long_after)
        assert found.valid
        assert found.moment is not None
        assert abs(found.moment.at - time.time()) < 600
        assert not notation(kind, data, DIGEST, [witness], time.time()).valid


def test_usages_of_anchors() -> None:
    pem = signing.public_pem(ec.generate_private_key(ec.SECP256R1()))
    certificate = signing.certificate_pem(Authority.make().certificate)
    assert read_anchor(pem, "log")[0] == "log"
    assert read_anchor(certificate, "timestamp")[0] == "timestamp"
    for text, usage in ((pem, "timestamp"), (certificate, "log"), (pem, "other")):
        with pytest.raises(InvalidError):
            read_anchor(text, usage)


# -- envelopes by other libraries ----------------------------------------------------------------------

NOTATION_PAYLOAD = json.dumps(
    {"targetArtifact": {"mediaType": signing.OCI, "digest": DIGEST, "size": len(MANIFEST)}}
).encode()
SCHEME = "io.cncf.notary.signingScheme"
CONTENT = "application/vnd.cncf.notary.payload.v1+json"


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "PS256", "PS512"])
def test_notations_jws_by_joserfc(algorithm: str) -> None:
    authority = Authority.make()
    key: Any = {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }.get(algorithm, lambda: rsa.generate_private_key(65537, 2048))()
    leaf = authority.signer(key)
    header = {"alg": algorithm, "cty": CONTENT, "crit": [SCHEME], SCHEME: "notary.x509"}
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    kind: Any = ECKey if algorithm.startswith("ES") else RSAKey
    registry = jws.JWSRegistry(
        {
            SCHEME: HeaderParameter("notation's signing scheme", "str"),
            "cty": HeaderParameter("content type", "str"),
        },
        algorithms=[algorithm],
    )
    made: Any = jws.serialize_json(
        {"protected": header}, NOTATION_PAYLOAD, kind.import_key(pem), registry=registry
    )
    made["header"] = {"x5c": [signing.b64(signing.certificate_der(leaf))]}
    anchor = Anchor("root", "certificate", signing.certificate_pem(authority.certificate))
    data = json.dumps(made).encode()
    assert notation("application/jose+json", data, DIGEST, [anchor], time.time()).valid
    other = digest_of(b"other")
    assert not notation("application/jose+json", data, other, [anchor], time.time()).valid
    text = made["signature"]
    data = json.dumps(
        {**made, "signature": ("A" if text[5] != "A" else "B").join((text[:5], text[6:]))}
    ).encode()
    assert not notation("application/jose+json", data, DIGEST, [anchor], time.time()).valid


@pytest.mark.parametrize("algorithm", ["ES256", "PS256"])
def test_notations_cose_by_pycose(algorithm: str) -> None:
    authority = Authority.make()
    if algorithm == "ES256":
        key: Any = ec.generate_private_key(ec.SECP256R1())
        numbers: Any = key.private_numbers()
        cose_key: Any = EC2Key(
            crv="P_256",
            d=numbers.private_value.to_bytes(32, "big"),
            x=numbers.public_numbers.x.to_bytes(32, "big"),
            y=numbers.public_numbers.y.to_bytes(32, "big"),
        )
    else:
        key = rsa.generate_private_key(65537, 2048)
        cose_key = CoseRSAKey.from_pem_private_key(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode()
        )
    leaf = authority.signer(key)
    message = Sign1Message(
        phdr={1: {"ES256": -7, "PS256": -37}[algorithm], 2: [SCHEME], 3: CONTENT, SCHEME: "notary.x509"},
        uhdr={33: [signing.certificate_der(leaf)]},
        payload=NOTATION_PAYLOAD,
    )
    message.key = cose_key
    data = message.encode()
    anchor = Anchor("root", "certificate", signing.certificate_pem(authority.certificate))
    assert notation("application/cose", data, DIGEST, [anchor], time.time()).valid
    changed = data.replace(b'"size": ', b'"size":1')
    assert changed != data
    assert not notation("application/cose", changed, DIGEST, [anchor], time.time()).valid
