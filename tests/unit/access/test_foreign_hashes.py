"""Hashes of Harbor's: verified as they are, and refused when they are none."""

from __future__ import annotations

import pytest

from seawall.access.passwords import harbor_hash, hash_of, is_foreign, verify
from seawall.kernel.errors import InvalidError
from tests.support.harbor.database import hashed


@pytest.mark.parametrize("version", ["sha1", "sha256", "pbkdf2_sha256"])
def test_a_hash_is_verified(version: str) -> None:
    stored = harbor_hash(version, "salt$of-üser", hashed("Secret-1", "salt$of-üser", version))
    assert is_foreign(stored)
    assert verify(stored, "Secret-1")
    assert not verify(stored, "Secret-2")
    assert not verify(stored, "\ud800")
    assert not is_foreign(hash_of("Secret-1"))


@pytest.mark.parametrize(
    ("version", "salt", "text"),
    [("md5", "s", "0" * 32), ("sha256", "s", "no hex"), ("sha256", "s" * 300, "0" * 32), ("sha256", "s", "")],
)
def test_what_is_no_hash_is_refused(version: str, salt: str, text: str) -> None:
    with pytest.raises(InvalidError):
        harbor_hash(version, salt, text)


@pytest.mark.parametrize(
    "stored", ["$harbor$", "$harbor$md5$c2FsdA==$" + "0" * 32, "$harbor$sha256$=$" + "0" * 32]
)
def test_what_is_stored_wrongly_lets_nobody_in(stored: str) -> None:
    assert not verify(stored, "")
