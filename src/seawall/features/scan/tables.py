"""Scanners, scans and their results, advisories."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from seawall.infra.db.metadata import BigId, metadata

# One row an imported source (an ecosystem of OSV, Debian's tracker, one Alpine secdb file).
advisory_sources = Table(
    "advisory_sources",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("advisories", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    # Newest modification time that an advisory of the source names.
    Column("modified_at", Float),
    Column("imported_at", Float, nullable=False),
)

advisories = Table(
    "advisories",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("source", String(128), nullable=False),
    Column("name", String(255), nullable=False),
    # Hash of the advisory as it was imported, to leave out what has not changed.
    Column("hash", String(64), nullable=False),
    # CVE ids that it is about, or its own id when it has none.
    Column("cves", JSON, nullable=False),
    Column("withdrawn", Boolean, nullable=False, server_default=false()),
    Column("severity", String(16), nullable=False, server_default=""),
    Column("score", Float),
    Column("vector", String(255), nullable=False, server_default=""),
    Column("summary", Text, nullable=False, server_default=""),
    Column("links", JSON, nullable=False),
    Column("cwes", JSON, nullable=False),
    Column("modified_at", Float),
    UniqueConstraint("source", "name"),
)

# CVE id -> advisories about it, so that one without a severity takes that of another.
advisory_cves = Table(
    "advisory_cves",
    metadata,
    Column("cve", String(128), primary_key=True),
    Column(
        "advisory_id", BigId, ForeignKey("advisories.id", ondelete="CASCADE"), primary_key=True, index=True
    ),
)

# Packages an advisory is about. `ranges` and `versions` are OSV's.
advisory_packages = Table(
    "advisory_packages",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("advisory_id", BigId, ForeignKey("advisories.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("ecosystem", String(128), nullable=False),
    Column("package", String(255), nullable=False),
    Column("ranges", JSON, nullable=False),
    Column("versions", JSON, nullable=False),
    Column("severity", String(16), nullable=False, server_default=""),
    # Why there is no fix, where the source says so: open, wontfix, end-of-life.
    Column("status", String(32), nullable=False, server_default=""),
    Index("ix_advisory_packages_package", "ecosystem", "package"),
)

# What a layer changes in the package list, by chain of layers; made again when it is missing.
scan_layers = Table(
    "scan_layers",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("digest", String(140), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("used_at", Float, nullable=False, index=True),
)

# The package list of an image by manifest digest; the same whatever repositories hold it.
scan_inventories = Table(
    "scan_inventories",
    metadata,
    Column("digest", String(140), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("packages", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
)

scanners = Table(
    "scanners",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("uuid", String(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("description", String(1024), nullable=False, server_default=""),
    Column("url", String(512), nullable=False, unique=True),
    Column("auth", String(16), nullable=False, server_default=""),
    Column("credential", Text, info={"sealed": True}),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("is_default", Boolean, nullable=False, server_default=false()),
    Column("skip_cert_verify", Boolean, nullable=False, server_default=false()),
    Column("use_internal_addr", Boolean, nullable=False, server_default=false()),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

project_scanners = Table(
    "project_scanners",
    metadata,
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("scanner", String(64), nullable=False),
)

# One row an artifact (by repository and digest), scanner and kind: vulnerability or sbom.
scan_reports = Table(
    "scan_reports",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("uuid", String(64), nullable=False, unique=True),
    Column("repository_id", BigId, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("digest", String(140), nullable=False),
    Column("scanner", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    # Harbor's: Pending, Running, Success, Error, Stopped.
    Column("status", String(16), nullable=False, index=True),
    Column("job_id", String(64)),
    Column("run_id", BigId, index=True),
    Column("severity", String(16), nullable=False, server_default=""),
    Column("total", Integer, nullable=False, server_default=text("0")),
    Column("fixable", Integer, nullable=False, server_default=text("0")),
    Column("counts", JSON),
    # CVE id -> severity rank (see seawall.features.scan.severity): what the gate on pulls looks at.
    Column("cves", JSON),
    # The report, or the digest of the SBOM, as zstd-packed JSON.
    Column("data", LargeBinary),
    Column("sbom_digest", String(140)),
    Column("scanner_info", JSON),
    # Newest import that the report knows of.
    Column("database_at", Float),
    Column("error", Text),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("repository_id", "digest", "scanner", "kind"),
)

# Findings of reports, for the security hub and exports.
scan_findings = Table(
    "scan_findings",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("report_id", BigId, ForeignKey("scan_reports.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("cve", String(128), nullable=False, index=True),
    Column("package", String(255), nullable=False, index=True),
    Column("version", String(255), nullable=False),
    Column("fixed_version", String(255), nullable=False, server_default=""),
    Column("severity", String(16), nullable=False, index=True),
    Column("score", Float),
    Column("status", String(32), nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    Column("links", JSON),
    Column("cwes", JSON),
)

# "Scan all" runs: how many artifacts they were about.
scan_runs = Table(
    "scan_runs",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("trigger", String(16), nullable=False),
    Column("job_id", String(64)),
    Column("status", String(16), nullable=False),
    Column("total", Integer, nullable=False, server_default=text("0")),
    Column("metrics", JSON),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
)

# What other registries ask of the embedded scanner through the adapter endpoint.
scan_requests = Table(
    "scan_requests",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("request", JSON, nullable=False),
    Column("credential", Text, info={"sealed": True}),
    Column("status", String(16), nullable=False),
    Column("data", LargeBinary),
    Column("error", Text),
    Column("created_at", Float, nullable=False, index=True),
)

scan_exports = Table(
    "scan_exports",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("user_id", BigId, nullable=False, index=True),
    Column("user_name", String(255), nullable=False),
    Column("name", String(255), nullable=False, server_default=""),
    Column("criteria", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_text", Text, nullable=False, server_default=""),
    Column("job_id", String(64)),
    Column("data", LargeBinary),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
)
