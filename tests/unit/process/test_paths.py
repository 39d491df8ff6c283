"""`config check` looks at each file and folder that a setting names."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from seawall.infra.secrets.material import TOKEN, generate, make_certificate, rsa_key
from seawall.infra.settings import Settings
from seawall.process.paths import path_faults


def named_paths(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        if Path in kinds:
            yield (*prefix, name)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from named_paths(kind, (*prefix, name))


PATHS = list(named_paths(Settings))
# What goes with a path so that the settings are complete.
WITH: dict[str, dict[str, Any]] = {
    "storage.cache.root": {"storage": {"driver": "s3", "s3": {"bucket": "b"}}},
    "storage.s3.cacert": {"storage": {"driver": "s3", "s3": {"bucket": "b"}}},
    "storage.gcs.keyfile": {"storage": {"driver": "gcs", "gcs": {"bucket": "b"}}},
    "http.tls_certificate": {"http": {"tls_key": "/none/key"}},
}


def with_path(path: tuple[str, ...], value: Path, here: Path) -> Settings:
    given: dict[str, Any] = {"data_dir": str(here)}

    def merge(into: dict[str, Any], values: dict[str, Any]) -> None:
        for key, item in values.items():
            if isinstance(item, dict):
                merge(into.setdefault(key, {}), item)
            else:
                into[key] = item

    merge(given, WITH.get(".".join(path), {}))
    at = given
    for part in path[:-1]:
        at = at.setdefault(part, {})
    at[path[-1]] = str(value)
    if path == ("http", "tls_key"):
        given["http"]["tls_certificate"] = str(certificate(here))
    return Settings(**given)


def certificate(here: Path) -> Path:
    place = here / "certificate.pem"
    place.write_text(make_certificate(rsa_key(generate(TOKEN)[0])))
    return place


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_a_path_that_cannot_be(path: tuple[str, ...], tmp_path: Path) -> None:
    """Below a file there is nothing, and nothing can be made there."""
    blocker = tmp_path / "file"
    blocker.write_text("")
    wrong = blocker / "below"
    faults = path_faults(with_path(path, wrong, tmp_path))
    assert len(faults) == 1, faults
    assert faults[0].startswith(".".join(path) + ": "), faults
    assert str(wrong) in faults[0]
    assert "\n" not in faults[0]


@pytest.mark.parametrize("path", [path for path in PATHS if path[-1] not in ("ca_bundle", "ca_download")])
def test_a_file_for_a_folder_and_a_folder_for_a_file(path: tuple[str, ...], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    if path[-1] in ("data_dir", "root"):
        wrong.write_text("")
    else:
        wrong.mkdir()
    faults = path_faults(with_path(path, wrong, tmp_path))
    assert len(faults) == 1, faults
    assert str(wrong) in faults[0]


def test_what_is_there_and_what_a_start_makes_is_no_fault(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(bytes(32)))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    settings = Settings(
        data_dir=tmp_path / "new",
        master_key_file=key,
        ca_download=tmp_path,
        ca_bundle=certificate(tmp_path),
        storage={"root": str(tmp_path / "blobs" / "later")},  # type: ignore[arg-type]
        dr={"ca_file": str(pipe)},  # type: ignore[arg-type]
    )
    assert path_faults(settings) == []
    assert not (tmp_path / "new").exists()


def test_paths_in_the_database_url(tmp_path: Path) -> None:
    def faults(url: str) -> list[str]:
        return path_faults(Settings(data_dir=tmp_path, database={"url": url}))  # type: ignore[arg-type]

    assert faults("postgresql://a@b/c?sslrootcert=/none/ca.pem&sslmode=verify-full") == [
        "database.url: sslrootcert: /none/ca.pem: No such file or directory"
    ]
    assert faults("postgresql://a@b/c?sslrootcert=system") == []
    assert faults(f"sqlite:///{tmp_path}/none/x.db") == [
        f"database.url: {tmp_path}/none: No such folder; make it first"
    ]
    assert "is a folder; name a file" in faults(f"sqlite:///{tmp_path}")[0]
    assert faults(f"sqlite:///{tmp_path}/x.db") == []
