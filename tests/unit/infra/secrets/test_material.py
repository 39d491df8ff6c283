"""A signing key is checked when it comes from a file, and read without that from then on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from seawall.infra.secrets.files import KeyFiles
from seawall.infra.secrets.material import TOKEN, generate, pem, rsa_key, signing_key
from seawall.infra.settings import KeysSettings
from seawall.kernel.errors import ConfigError


def test_a_key_of_ours_is_read_at_once() -> None:
    material, _ = generate(TOKEN)
    begun = time.process_time()
    for _ in range(50):
        assert signing_key(material).is_private
    # To check one key takes 0.05 s.
    assert time.process_time() - begun < 0.5


def test_a_damaged_key_in_a_file_is_refused(tmp_path: Path) -> None:
    numbers = rsa_key(generate(TOKEN)[0]).private_numbers()
    damaged = rsa.RSAPrivateNumbers(
        p=numbers.p,
        q=numbers.q,
        d=numbers.d + 2,
        dmp1=numbers.dmp1,
        dmq1=numbers.dmq1,
        iqmp=numbers.iqmp,
        public_numbers=numbers.public_numbers,
    ).private_key(unsafe_skip_rsa_key_validation=True)
    file = tmp_path / "private_key.pem"
    file.write_bytes(pem(damaged))
    with pytest.raises(ConfigError, match="not a PEM private key"):
        KeyFiles(KeysSettings(private_key_file=file))
