"""Tag retention: which artifacts a project keeps, and the job that deletes the others.

A policy is a list of rules. For each repository, the rules whose repository selectors match it choose what
to keep among the artifacts that their tag selectors match; what any of them keeps is kept ("or"), all other
artifacts of that repository are deleted. A repository that no rule matches is left alone. Source: Harbor's
user documentation, "Create Tag Retention Rules".

Beyond that, as a matter of safety: an artifact with an immutable tag, one that an index names, and one that
was pushed or tagged again since the rules were applied is kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from seawall.kernel import selectors
from seawall.kernel.cron import next_time
from seawall.kernel.errors import ConflictError, InvalidError
from seawall.registry.incoming import incomplete
from seawall.registry.lookups import listed_artifacts
from seawall.registry.tags import tags_of_repository

RULE_LIMIT = 15
_DAY = 86400.0
# Template -> the largest value of its parameter, None where it has none. The first five are those that
# Harbor's API lists; it takes the last two as well.
TEMPLATES: dict[str, int | None] = {
    "latestPushedK": 32766,
    "latestPulledN": 32766,
    "nDaysSinceLastPush": 20190904,
    "nDaysSinceLastPull": 20190904,
    "always": None,
    "latestActiveK": 32766,
    "lastXDays": 20190904,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artifact that retention decides about; times in Unix seconds."""

    id: int
    digest: str
    pushed_at: float
    pulled_at: float
    tags: tuple[str, ...]
    kind: str = "IMAGE"


def checked_rules(raw: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules to store. Raises InvalidError, ConflictError when two are the same."""
    if len(raw) > RULE_LIMIT:
        raise InvalidError(f"a policy has at most {RULE_LIMIT} rules")
    result: list[dict[str, Any]] = []
    for number, item in enumerate(raw, 1):
        rule = {"id": number, **_checked_rule(item)}
        for other in result:
            if {**other, "id": 0} == {**rule, "id": 0}:
                raise ConflictError(f"rule {number} says the same as rule {other['id']}")
        result.append(rule)
    return result


def _checked_rule(raw: dict[str, Any]) -> dict[str, Any]:
    template = raw.get("template") or ""
    if template not in TEMPLATES:
        raise InvalidError(f"retention template must be one of {', '.join(TEMPLATES)}")
    if (raw.get("action") or "retain") != "retain":
        raise InvalidError("retention rules have the action retain")
    limit = TEMPLATES[template]
    params: dict[str, int] = {}
    if limit is not None:
        value = (raw.get("params") or {}).get(template)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise InvalidError(f"rule {template} needs the parameter {template}, a whole number")
        if not 0 <= value <= limit:
            raise InvalidError(f"the parameter of {template} must be from 0 to {limit}")
        params[template] = int(value)
    tag = raw.get("tag_selectors") or []
    scope = (raw.get("scope_selectors") or {}).get("repository") or []
    if not tag or not scope:
        raise InvalidError("a retention rule needs a tag selector and a repository selector")
    if len(tag) > 10 or len(scope) > 10:
        raise InvalidError("a rule has at most 10 selectors of a kind")
    return {
        "priority": int(raw.get("priority") or 0),
        "disabled": bool(raw.get("disabled")),
        "action": "retain",
        "template": template,
        "params": params,
        "tag_selectors": [selectors.checked(item, selectors.TAG_DECORATIONS) for item in tag],
        "scope_selectors": {
            "repository": [selectors.checked(item, selectors.REPOSITORY_DECORATIONS) for item in scope]
        },
    }


def checked_cron(cron: str) -> str:
    """The cron expression, or empty. Raises InvalidError."""
    if cron:
        next_time(cron, time.time())
    return cron


def rules_for(rules: Sequence[dict[str, Any]], repository: str) -> list[dict[str, Any]]:
    """The enabled rules that cover a repository (`project/path`)."""
    short = repository.partition("/")[2]
    return [
        rule
        for rule in rules
        if not rule["disabled"]
        and all(selectors.selects_repository(item, short) for item in rule["scope_selectors"]["repository"])
    ]


def retained(rules: Sequence[dict[str, Any]], candidates: Sequence[Candidate], now: float) -> set[int]:
    """Ids of the candidates that any of the rules keeps."""
    result: set[int] = set()
    for rule in rules:
        chosen = [
            item
            for item in candidates
            if all(selectors.selects_artifact(s, item.tags) for s in rule["tag_selectors"])
        ]
        result |= {item.id for item in _kept(rule, chosen, now)}
    return result


def _kept(rule: dict[str, Any], chosen: list[Candidate], now: float) -> list[Candidate]:
    template = rule["template"]
    if template == "always":
        return chosen
    value = rule["params"][template]
    if template == "latestPushedK":
        return sorted(chosen, key=lambda item: (item.pushed_at, item.id), reverse=True)[:value]
    if template == "latestPulledN":
        return sorted(chosen, key=lambda item: (item.pulled_at, item.id), reverse=True)[:value]
    if template == "latestActiveK":
        return sorted(chosen, key=lambda item: (max(item.pushed_at, item.pulled_at), item.id), reverse=True)[
            :value
        ]
    since = now - value * _DAY
    if template == "nDaysSinceLastPull":
        return [item for item in chosen if item.pulled_at >= since]
    return [item for item in chosen if item.pushed_at >= since]


def candidates(connection: Connection, repository_id: int) -> list[Candidate]:
    """The artifacts of a repository that lists show, with their tags; none while some are still to come."""
    if incomplete(connection, repository_id):
        return []
    names: dict[int, list[str]] = {}
    for name, manifest_id in tags_of_repository(connection, repository_id):
        names.setdefault(manifest_id, []).append(name)
    # Signatures and the like go with their subject, not by rules.
    return [
        Candidate(
            item.id,
            item.digest,
            item.pushed_at,
            item.pulled_at or 0.0,
            tuple(names.get(item.id, ())),
            item.kind or "IMAGE",
        )
        for item in listed_artifacts(connection, repository_id)
    ]
