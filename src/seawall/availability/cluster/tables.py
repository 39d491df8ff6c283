"""Instances of this cluster, and figures of it."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, String, Table

from seawall.infra.db.metadata import metadata

instances = Table(
    "instances",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("hostname", String(255), nullable=False),
    # Where other instances reach this one directly, without the balancer.
    Column("address", String(255), nullable=False),
    Column("version", String(64), nullable=False),
    Column("started_at", Float, nullable=False),
    # By the database's clock, so that instances with a wrong clock do not look dead.
    Column("seen_at", Float, nullable=False, index=True),
    # This instance's clock minus the database's, in seconds.
    Column("clock_skew", Float, nullable=False, server_default="0"),
    Column("external_url", String(255), nullable=False, server_default=""),
    Column("config_hash", String(64), nullable=False, server_default=""),
    Column("fingerprints", JSON, nullable=False),
    Column("health", JSON, nullable=False),
    info={"fenced": False, "dumped": False},
)

# Figures of the whole cluster, which one instance computes and all show. One row.
cluster_figures = Table(
    "cluster_figures",
    metadata,
    Column("name", String(32), primary_key=True),
    # A list of families: name, help, labels, samples.
    Column("families", JSON, nullable=False),
    # By the database's clock, and how long the computation took.
    Column("computed_at", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    info={"fenced": False, "dumped": False},
)
