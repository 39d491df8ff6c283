"""Making keys, and deriving keys from them."""

from __future__ import annotations

import datetime
import hmac
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.jwk import RSAKey

TOKEN, CSRF, SECRET = "token-signing", "csrf", "secret"
NAMES = (TOKEN, CSRF, SECRET)


def fingerprint(master: bytes, name: str, material: bytes) -> str:
    """Tells versions of a key apart without giving anything away."""
    if name == TOKEN:
        return signing_key(material).thumbprint()
    # Keyed, so that a weak secret from a file cannot be found by trying candidates.
    return hmac.digest(master, name.encode() + b"\0" + material, "sha256").hex()[:32]


def derive(material: bytes, purpose: str) -> bytes:
    """A 256-bit key for one purpose."""
    # Files of operators have any length and form; HKDF makes a 256-bit key of whatever they hold.
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"seawall " + purpose.encode()).derive(material)


def generate(name: str) -> tuple[bytes, str]:
    """New (material, certificate PEM or "") for key `name`."""
    if name != TOKEN:
        return secrets.token_bytes(32), ""
    key = new_rsa_key()
    return pem(key), make_certificate(key)


def new_rsa_key() -> rsa.RSAPrivateKey:
    """A key to sign tokens with; takes a tenth of a second of processor time."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def rsa_key(pem: bytes) -> rsa.RSAPrivateKey:
    """The key in a PEM of ours: one that `pem` wrote, and that was kept sealed."""
    # To find out that its factors are primes takes a thousand times as long as to read it. A key from a file
    # is checked when it is imported (`files`); then a seal that opens says that nothing has changed it.
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def signing_key(pem: bytes) -> RSAKey:
    """`rsa_key` as what signs and verifies tokens."""
    return RSAKey.import_key(rsa_key(pem))


def pem(key: rsa.RSAPrivateKey) -> bytes:
    """PKCS#8 without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_certificate(key: rsa.RSAPrivateKey) -> str:
    """PEM of a self-signed certificate for ten years."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "seawall-token")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
