"""The bodies of webhook requests: Harbor's format, CloudEvents 1.0, Slack blocks.

Source: the examples in Harbor's user documentation ("Configure Webhook Notifications"), the CloudEvents
specification 1.0 (JSON format), Slack's Block Kit.
"""

from __future__ import annotations

import datetime
import json
from typing import Any
from urllib.parse import urlsplit

EVENT_TYPES = (
    "DELETE_ARTIFACT",
    "PULL_ARTIFACT",
    "PUSH_ARTIFACT",
    "QUOTA_EXCEED",
    "QUOTA_WARNING",
    "REPLICATION",
    "SCANNING_COMPLETED",
    "SCANNING_FAILED",
    "SCANNING_STOPPED",
    "TAG_RETENTION",
    # Seawall's own.
    "TOKEN_EXPIRING",
)
TARGET_TYPES = ("http", "slack")
DEFAULT, CLOUD_EVENTS = "Default", "CloudEvents"
FORMATS = (DEFAULT, CLOUD_EVENTS)
_CLOUD_TYPES = {
    "DELETE_ARTIFACT": "harbor.artifact.deleted",
    "PULL_ARTIFACT": "harbor.artifact.pulled",
    "PUSH_ARTIFACT": "harbor.artifact.pushed",
    "QUOTA_EXCEED": "harbor.quota.exceeded",
    "QUOTA_WARNING": "harbor.quota.warned",
    "REPLICATION": "harbor.replication.status.changed",
    "SCANNING_COMPLETED": "harbor.scan.completed",
    "SCANNING_FAILED": "harbor.scan.failed",
    "SCANNING_STOPPED": "harbor.scan.stopped",
    "TAG_RETENTION": "harbor.tag_retention.finished",
    "TOKEN_EXPIRING": "seawall.token.expiring",
}
# Slack refuses a block's text beyond 3,000 characters.
_SLACK_LIMIT = 2900


def event_data(data: dict[str, Any], external_url: str | None) -> dict[str, Any]:
    """`event_data` of an event as `seawall.infra.outbox.events` records it."""
    result: dict[str, Any] = {}
    repository = data.get("repository")
    host = urlsplit(external_url).netloc if external_url else ""
    resources = []
    for item in data.get("resources") or ():
        resource = dict(item)
        digest, tag = item.get("digest"), item.get("tag") or ""
        if repository:
            name = f"{host}/{repository}" if host else repository
            by_tag = bool(tag) and ":" not in tag
            resource["resource_url"] = f"{name}:{tag}" if by_tag else f"{name}@{digest}"
        resources.append(resource)
    if resources:
        result["resources"] = resources
    if repository:
        namespace, _, name = repository.partition("/")
        result["repository"] = {
            "date_created": int(data.get("repository_created") or 0),
            "name": name,
            "namespace": namespace,
            "repo_full_name": repository,
            "repo_type": "public" if data.get("public") else "private",
        }
    result.update(data.get("event_data") or {})
    return result


def harbor(kind: str, data: dict[str, Any], external_url: str | None) -> dict[str, Any]:
    """Harbor's own format ("Default")."""
    return {
        "type": kind,
        "occur_at": int(data.get("occur_at") or 0),
        "operator": data.get("operator") or "",
        "event_data": event_data(data, external_url),
    }


def cloud_event(
    kind: str, data: dict[str, Any], external_url: str | None, project_id: int, policy_id: int
) -> dict[str, Any]:
    """CloudEvents 1.0 in structured mode; `id` is the event's, the same for every attempt."""
    moment = datetime.datetime.fromtimestamp(int(data.get("occur_at") or 0), datetime.UTC)
    return {
        "specversion": "1.0",
        "id": str(data.get("id") or ""),
        "source": f"/projects/{project_id}/webhook/policies/{policy_id}",
        "type": _CLOUD_TYPES.get(kind, "harbor." + kind.lower()),
        "datacontenttype": "application/json",
        "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "operator": data.get("operator") or "",
        "data": event_data(data, external_url),
    }


def slack(kind: str, data: dict[str, Any], external_url: str | None) -> dict[str, Any]:
    """Blocks for a Slack incoming webhook."""
    shown = json.dumps(event_data(data, external_url), indent=2, ensure_ascii=False)
    if len(shown) > _SLACK_LIMIT:
        shown = shown[:_SLACK_LIMIT] + "\n..."
    # The three characters that Slack's markup gives a meaning to.
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")[:_SLACK_LIMIT]
    moment = datetime.datetime.fromtimestamp(int(data.get("occur_at") or 0), datetime.UTC)
    lines = (
        "*Registry event*",
        f"*event_type:* {kind}",
        f"*occur_at:* {moment.isoformat()}",
        f"*operator:* {data.get('operator') or ''}",
        f"```{shown}```",
    )
    return {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": line}} for line in lines]}


def body(
    target: str,
    layout: str,
    kind: str,
    data: dict[str, Any],
    *,
    external_url: str | None,
    project_id: int,
    policy_id: int,
) -> tuple[str, bytes]:
    """(content type, body) of the request for one event."""
    content_type = "application/json"
    document: dict[str, Any]
    if target == "slack":
        document = slack(kind, data, external_url)
    elif layout == CLOUD_EVENTS:
        content_type = "application/cloudevents+json"
        document = cloud_event(kind, data, external_url, project_id, policy_id)
    else:
        document = harbor(kind, data, external_url)
    return content_type, json.dumps(document, ensure_ascii=False).encode()
