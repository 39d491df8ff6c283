"""What a webhook policy is asked for."""

from __future__ import annotations

from typing import Any

from seawall.features.webhooks import policies


def wanted(address: str, *kinds: str, also: tuple[str, ...] = (), **changes: Any) -> policies.Wanted:
    """A policy with targets at `address` and `also`; `changes`: members of it, or of its targets."""
    target: dict[str, Any] = {
        "target_type": "http",
        "auth_header": None,
        "skip_verify": False,
        "payload_format": "Default",
    }
    target |= {name: changes.pop(name) for name in list(changes) if name in target}
    values: dict[str, Any] = {
        "name": "hook",
        "description": "",
        "targets": tuple(policies.WantedTarget(address=item, **target) for item in (address, *also)),
        "event_types": list(kinds or ("PUSH_ARTIFACT",)),
        "enabled": True,
    }
    return policies.Wanted(**{**values, **changes})
