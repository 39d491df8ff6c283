"""Bytes that strangers choose: those of the corpora again, and a few new ones of each kind.

`make fuzz` tries for a minute, and `make fuzz FUZZ_SECONDS=3600` for longer; what fails there is saved in the
corpus, and so fails here. `SEAWALL_FUZZ_EXAMPLES` is how many new ones are tried here.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from seawall.kernel.errors import RegistryError
from seawall.registry.attachments import is_attachment
from seawall.registry.manifest import OCI_MANIFEST, parse
from tests.support import fuzz
from tests.support.fuzz import CORPUS, FUZZERS, Fuzzer, one_try

EXAMPLES = int(os.environ.get("SEAWALL_FUZZ_EXAMPLES", "60"))
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize("name", sorted(FUZZERS))
def test_corpus(name: str) -> None:
    files = sorted(FUZZERS[name].folder.iterdir())
    assert files, "no input is committed"
    for file in files:
        try:
            FUZZERS[name].check(file.read_bytes())
        except Exception as error:
            raise AssertionError(f"{file}: {error!r}") from error


@pytest.mark.parametrize("name", sorted(FUZZERS))
def test_new_inputs(name: str) -> None:
    data = one_try(FUZZERS[name], EXAMPLES)
    assert data is None, f"save it as a file in {FUZZERS[name].folder}: {data!r}"


def test_every_folder_is_of_a_fuzzer() -> None:
    assert {item.name for item in CORPUS.iterdir()} == set(FUZZERS)


def test_a_fault_is_found_saved_and_looked_for_again(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(data: bytes) -> None:
        if b"x=" in data:
            raise KeyError("x=")

    monkeypatch.setattr(fuzz, "CORPUS", tmp_path)
    monkeypatch.setattr(fuzz, "ROOT", tmp_path)
    bad = Fuzzer("bad", check, (b"x", b"=", b"y"))
    bad.folder.mkdir()
    (bad.folder / "seed").write_bytes(b"yyyy")
    monkeypatch.setattr(fuzz, "FUZZERS", {"bad": bad})
    monkeypatch.setattr("sys.argv", ["fuzz", "--only", "bad", "--seconds", "60"])
    assert fuzz.main() == 1
    assert "bad: saved bad/" in capsys.readouterr().err
    # As small as it gets, and part of the corpus from now on.
    [found] = [data for data in bad.corpus() if b"x=" in data]
    assert len(found) <= 6
    with pytest.raises(KeyError):
        check(found)


@pytest.mark.parametrize("document", [{}, {"layers": None}, {"config": {"digest": DIGEST, "size": 1}}])
def test_what_declares_nothing_is_no_attachment(document: dict[str, Any]) -> None:
    try:
        found = parse(json.dumps({"schemaVersion": 2, **document}).encode(), OCI_MANIFEST)
    except RegistryError:
        return
    assert not is_attachment(found)
