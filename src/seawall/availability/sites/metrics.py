"""What the leading process of a site tells Prometheus."""

from __future__ import annotations

from prometheus_client import Gauge

ROLE = Gauge(
    "seawall_dr_role",
    "Role of the site: 1 for its role, 0 for the others",
    ["role"],
    multiprocess_mode="mostrecent",
)
LAG = Gauge(
    "seawall_dr_lag_seconds", "How far the standby is behind, in seconds", multiprocess_mode="mostrecent"
)
BEHIND = Gauge(
    "seawall_dr_behind_changes",
    "Changed rows that the standby knows of and does not have yet",
    multiprocess_mode="mostrecent",
)
EPOCH = Gauge(
    "seawall_dr_epoch", "Epoch of the site, which each promotion raises", multiprocess_mode="mostrecent"
)
