"""What an adoption reads of a Harbor: its encryption, times and JSON."""

from __future__ import annotations

from datetime import datetime

import pytest

from seawall.availability.adopt.cipher import HarborCipher, WrongKeyError
from seawall.availability.adopt.harbor import parsed, seconds
from seawall.availability.adopt.report import Report, clean
from seawall.infra.storage.tree import key_at, tree_key, tree_path
from seawall.kernel.errors import ConfigError
from tests.support.harbor.database import SECRET_KEY, sealed


def test_what_harbor_encrypts_is_opened() -> None:
    cipher = HarborCipher(SECRET_KEY)
    assert cipher.open(sealed("pass wörd\n"), "x") == "pass wörd\n"
    assert cipher.open("cGxhaW4=", "x") == "plain"


@pytest.mark.parametrize("text", ["<enc-v1>", "<enc-v1>%%", "<enc-v1>YWJj", "%%%", "gICA"])
def test_what_is_damaged_is_said(text: str) -> None:
    with pytest.raises(WrongKeyError, match="registry hub"):
        HarborCipher(SECRET_KEY).open(text, "registry hub")


def test_wrong_and_missing_keys() -> None:
    with pytest.raises(WrongKeyError):
        HarborCipher("another-key-1234").open(sealed("a secret of some length"), "x")
    with pytest.raises(ConfigError, match="--secret-key"):
        HarborCipher(None).open(sealed("a"), "x")
    with pytest.raises(ConfigError, match="16"):
        HarborCipher("short")


def test_times_and_json() -> None:
    assert seconds(datetime(2024, 1, 2, 3, 4, 5)) == 1704164645
    assert seconds(datetime(1, 1, 1)) is None
    assert seconds(None) is None
    assert parsed('{"a": 1}', dict) == {"a": 1}
    assert parsed("[" * 100_000, list) == []
    assert parsed('"text"', dict) == {}


def test_keys_of_the_tree() -> None:
    digest = "sha256:" + "ab" * 32
    path = tree_path(tree_key(digest))
    assert path == f"docker/registry/v2/blobs/sha256/ab/{'ab' * 32}/data"
    assert key_at(path.removeprefix("docker/registry/v2/blobs/")) == tree_key(digest)
    for other in ("tree.sha256.../../x", "ab" * 32, "tree.md5." + "0" * 32):
        assert tree_path(other) is None
    assert key_at(f"sha256/cd/{'ab' * 32}/data") is None


def test_a_report_has_one_line_for_a_thing() -> None:
    report = Report()
    report.leave("user a\nb\x1b[31m", "no")
    assert report.left == ["user a\\nb\\x1b[31m: no"]
    assert len(clean("x" * 1000)) == 300
