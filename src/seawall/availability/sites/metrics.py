"""What the leading process of a site tells Prometheus."""

from __future__ import annotations

from prometheus_client import Gauge

ROLE = Gauge(
    "seawall_dr_role", "Role of the site: 1 for the one it has", ["role"], multiprocess_mode="mostrecent"
)
LAG = Gauge("seawall_dr_lag_seconds", "Age of what the standby holds", multiprocess_mode="mostrecent")
BEHIND = Gauge(
    "seawall_dr_behind_changes",
    "Changed rows that the standby knows of and lacks",
    multiprocess_mode="mostrecent",
)
EPOCH = Gauge("seawall_dr_epoch", "Epoch of the site", multiprocess_mode="mostrecent")
