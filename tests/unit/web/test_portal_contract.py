"""The portal's client is generated from our OpenAPI document, and the document has not moved away since."""

from __future__ import annotations

import re

from tests.support import openapi
from tests.support.processes import ROOT

SCHEMA = ROOT / "portal/src/api/schema.ts"


def test_every_path_of_the_client_is_in_the_api() -> None:
    known = set(re.findall(r'^    "(/api/v2\.0/[^"]+)": \{', SCHEMA.read_text(), re.MULTILINE))
    assert len(known) > 100
    gone = known - set(openapi.document()["paths"])
    assert not gone, f"run `npm run generate` in portal/: {sorted(gone)}"


def test_nothing_is_asked_for_by_another_way_than_the_client() -> None:
    for path in (ROOT / "portal/src").rglob("*.ts*"):
        if path.name != "client.ts":
            assert not re.search(r"\bfetch\(|XMLHttpRequest", path.read_text()), path
