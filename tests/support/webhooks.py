"""What a webhook policy is asked for."""

from __future__ import annotations

from typing import Any

from seawall.features.webhooks import policies


def wanted(address: str, *kinds: str, **changes: Any) -> policies.Wanted:
    """A policy."""
    values: dict[str, Any] = {
        "name": "hook",
        "description": "",
        "target_type": "http",
        "address": address,
        "auth_header": None,
        "skip_verify": False,
        "payload_format": "Default",
        "event_types": list(kinds or ("PUSH_ARTIFACT",)),
        "enabled": True,
    }
    return policies.Wanted(**{**values, **changes})
