"""What `make audit` fails for: findings that nobody has looked at. What it was not told is no finding."""

from __future__ import annotations

import datetime
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT

TODAY = datetime.date(2026, 11, 29)


@pytest.fixture(scope="module")
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("ci_audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ci_audit"] = module
    spec.loader.exec_module(module)
    return module


PIP = {
    "dependencies": [
        {"name": "good", "version": "1", "vulns": []},
        {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-2026-1"]}]},
        {"name": "seawall", "skip_reason": "not on PyPI"},
    ]
}
NPM = {
    "vulnerabilities": {
        "left": {"via": ["right"]},
        "right": {"via": [{"url": "https://github.com/advisories/GHSA-aaaa-bbbb-cccc", "range": "<2"}]},
    }
}


def test_findings_are_read(audit: Any) -> None:
    [finding] = audit.of_pip_audit(json.dumps(PIP))
    assert (finding.package, finding.ids) == ("bad", ("PYSEC-1", "CVE-2026-1"))
    [finding] = audit.of_npm_audit(json.dumps(NPM))
    assert (finding.package, finding.ids) == ("right", ("GHSA-aaaa-bbbb-cccc",))


def test_a_database_that_is_not_reached_is_no_clean_bill(audit: Any) -> None:
    skipped = {"dependencies": [{"name": "a", "skip_reason": "Dependency not found"}]}
    with pytest.raises(audit.UnreachedError):
        audit.of_pip_audit(json.dumps(skipped))
    for told in (
        {"message": "405 Method Not Allowed", "statusCode": 405},
        {"error": {"code": "ENOTFOUND"}},
        {},
    ):
        with pytest.raises(audit.UnreachedError):
            audit.of_npm_audit(json.dumps(told))


def test_only_what_was_looked_at_is_allowed(audit: Any) -> None:
    findings = audit.of_pip_audit(json.dumps(PIP))
    assert audit.judged(findings, [], TODAY) == ["bad 2: PYSEC-1, CVE-2026-1"]
    entry = {"id": "CVE-2026-1", "package": "bad", "until": TODAY, "reason": "not called"}
    assert audit.judged(findings, [entry], TODAY) == []
    assert audit.judged(findings, [{**entry, "package": "other"}], TODAY)
    assert audit.judged(findings, [entry], TODAY + datetime.timedelta(days=1))
    for missing in ("reason", "until", "package"):
        assert audit.judged([], [{k: v for k, v in entry.items() if k != missing}], TODAY)


def test_it_says_when_nothing_was_looked_up(
    audit: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def away() -> list[Any]:
        raise audit.UnreachedError("no route")

    monkeypatch.setattr(audit, "pip_findings", away)
    monkeypatch.setattr(audit, "npm_findings", away)
    assert audit.main() == 0
    assert capsys.readouterr().out.count("was not reached") == 2
    monkeypatch.setattr(audit, "npm_findings", lambda: audit.of_npm_audit(json.dumps(NPM)))
    assert audit.main() == 1
    assert "GHSA-aaaa-bbbb-cccc" in capsys.readouterr().err
