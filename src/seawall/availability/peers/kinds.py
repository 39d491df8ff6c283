"""What is kept equal between peers: every kind of entity.

Not here, because it is of one instance: the audit log, jobs and executions, scan reports and advisories,
pull counts, failed logins.

This is one long file on purpose: it declares data, one kind after the other.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection

from seawall.availability.peers import schema as t
from seawall.availability.peers.documents import Kind, Names, facet
from seawall.availability.peers.model import Context
from seawall.availability.peers.special_kinds import (
    SEEN_GRAIN,
    ClusterKeyKind,
    DefaultScannerKind,
    ManifestKind,
    RepositoryKind,
    RobotKind,
    RuleKind,
    ScheduleKind,
    SessionKind,
    SessionUseKind,
    TagKind,
    TokenUseKind,
    TufKind,
)
from seawall.registry import accounting


def _retention_schedule(connection: Connection, context: Context, row: Any) -> None:
    context.jobs.set_schedule_in(
        connection, f"retention:{row.id}", row.cron or None, "retention-schedule", {"policy": row.id}
    )


def _replication_schedule(connection: Connection, context: Context, row: Any) -> None:
    cron = row.cron if row.trigger_type == "scheduled" and row.enabled else None
    context.jobs.set_schedule_in(connection, f"replication:{row.id}", cron, "replication", {"policy": row.id})


def _preheat_schedule(connection: Connection, context: Context, row: Any) -> None:
    cron = row.cron if row.trigger_type == "scheduled" and row.enabled else None
    context.jobs.set_schedule_in(connection, f"preheat:{row.id}", cron, "preheat", {"policy": row.id})


def _robots() -> ColumnElement[bool]:
    # A scanner's own robots live for one scan, on the instance that scans.
    return t.robots.c.creator_type != "scanner"


_PROJECT = {"project_id": "project"}

# In the order in which they can be made: each after what it refers to.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        ClusterKeyKind("key", t.cluster_keys, ("name", "fingerprint"), permanent=True),
        Kind("setting", t.configurations, ("name",), ("value",)),
        Kind(
            "user",
            t.users,
            ("username",),
            ("sysadmin",),
        ),
        facet("user-password", t.users, ("username",), {"password_hash": None}),
        facet("user-profile", t.users, ("username",), {"email": None, "realname": "", "comment": ""}),
        Kind(
            "oidc-user",
            t.oidc_users,
            ("user_id",),
            ("issuer", "subject"),
            {"user_id": "user"},
            unique=(("issuer", "subject"),),
        ),
        facet("oidc-secret", t.oidc_users, ("user_id",), {"secret": ""}, refs={"user_id": "user"}),
        facet("oidc-token", t.oidc_users, ("user_id",), {"token": None}, refs={"user_id": "user"}),
        Kind(
            "identity-source",
            t.identity_sources,
            ("name",),
            ("kind", "title", "position", "enabled", "configuration", "prefix", "admin_group"),
        ),
        Kind(
            "identity",
            t.user_identities,
            ("source", "issuer", "subject"),
            ("user_id", "made_user_id"),
            {"user_id": "user", "made_user_id": "user"},
            unique=(("made_user_id",),),
        ),
        Kind("group", t.user_groups, ("name", "type", "ldap_group_dn"), ("source",)),
        Kind(
            "group-member",
            t.user_group_members,
            ("user_id", "group_id"),
            (),
            {"user_id": "user", "group_id": "group"},
            extra=(),
        ),
        Kind(
            "registry",
            t.registries,
            ("name",),
            (
                "description",
                "type",
                "url",
                "credential_type",
                "access_key",
                "access_secret",
                "insecure",
                "ca_certificate",
                "token_origin",
                "internal_networks",
            ),
            defaults={"status": "healthy"},
        ),
        Kind(
            "project",
            t.projects,
            ("name",),
            ("owner_id", "registry_id", "public"),
            {"owner_id": "user", "registry_id": "registry"},
        ),
        Kind(
            "project-setting",
            t.project_metadata,
            ("project_id", "name"),
            ("value",),
            _PROJECT,
            extra=(),
            project="project_id",
        ),
        Kind(
            "quota",
            t.quotas,
            ("project_id",),
            ("hard_storage",),
            _PROJECT,
            defaults={"used_storage": 0},
            changed=lambda connection, _context, row: accounting.settle(connection, row.project_id),
            permanent=True,
            project="project_id",
        ),
        Kind(
            "member",
            t.project_members,
            ("project_id", "user_id", "group_id"),
            ("role",),
            {**_PROJECT, "user_id": "user", "group_id": "group"},
            extra=(),
            project="project_id",
        ),
        RobotKind(
            "robot",
            t.robots,
            ("name",),
            (
                "project_id",
                "permissions",
                "disabled",
                "duration",
                "expires_at",
                "creator_type",
            ),
            _PROJECT,
            defaults={"secret_hash": ""},
            where=_robots,
            project="project_id",
        ),
        facet("robot-secret", t.robots, ("name",), {"secret_hash": ""}, where=_robots, project="project_id"),
        facet(
            "robot-issuers",
            t.robots,
            ("name",),
            {"trusted_issuers": ""},
            where=_robots,
            project="project_id",
        ),
        facet(
            "robot-description", t.robots, ("name",), {"description": ""}, where=_robots, project="project_id"
        ),
        Kind(
            "label",
            t.labels,
            ("project_id", "name"),
            ("description", "color"),
            _PROJECT,
            project="project_id",
        ),
        Kind(
            "allowlist",
            t.cve_allowlists,
            ("project_id",),
            ("expires_at", "items"),
            _PROJECT,
            project="project_id",
        ),
        RuleKind(
            "immutable-rule",
            t.immutable_rules,
            ("project_id", "rule"),
            ("disabled", "priority", "rule"),
            _PROJECT,
            project="project_id",
        ),
        Kind(
            "retention",
            t.retention_policies,
            ("project_id",),
            ("algorithm", "rules", "cron"),
            _PROJECT,
            project="project_id",
            changed=_retention_schedule,
        ),
        Kind(
            "webhook",
            t.webhook_policies,
            ("project_id", "name"),
            (
                "description",
                "target_type",
                "address",
                "skip_verify",
                "payload_format",
                "event_types",
                "creator",
                "enabled",
                "secret",
                "more_targets",
            ),
            _PROJECT,
            project="project_id",
        ),
        Kind(
            "trusted-key",
            t.trusted_keys,
            ("project_id", "name"),
            ("kind", "pem", "fingerprint", "identities"),
            _PROJECT,
            unique=(("project_id", "fingerprint"),),
            project="project_id",
        ),
        Kind(
            "scanner",
            t.scanners,
            ("uuid",),
            (
                "name",
                "description",
                "url",
                "auth",
                "credential",
                "disabled",
                "skip_cert_verify",
                "use_internal_addr",
            ),
            unique=(("name",), ("url",)),
            defaults={"is_default": False},
        ),
        DefaultScannerKind(
            "default-scanner",
            t.scanners,
            ("uuid",),
            ("uuid",),
            extra=(),
            where=lambda: t.scanners.c.is_default,
            permanent=True,
        ),
        Kind(
            "project-scanner",
            t.project_scanners,
            ("project_id",),
            ("scanner",),
            _PROJECT,
            extra=(),
            project="project_id",
        ),
        Kind(
            "replication-policy",
            t.replication_policies,
            ("name",),
            (
                "description",
                "src_registry_id",
                "dest_registry_id",
                "dest_namespace",
                "dest_namespace_replace_count",
                "trigger_type",
                "cron",
                "filters",
                "replicate_deletion",
                "override",
                "enabled",
                "speed",
                "copy_by_chunk",
                "single_active",
            ),
            {"src_registry_id": "registry", "dest_registry_id": "registry"},
            changed=_replication_schedule,
        ),
        Kind(
            "preheat-instance",
            t.preheat_instances,
            ("name",),
            (
                "description",
                "vendor",
                "endpoint",
                "auth_mode",
                "auth_info",
                "enabled",
                "is_default",
                "insecure",
            ),
            extra=("created_at",),
            unique=(("endpoint",),),
        ),
        Kind(
            "preheat-policy",
            t.preheat_policies,
            ("project_id", "name"),
            (
                "provider_id",
                "description",
                "filters",
                "trigger_type",
                "cron",
                "enabled",
                "extra_attrs",
            ),
            {**_PROJECT, "provider_id": "preheat-instance"},
            project="project_id",
            changed=_preheat_schedule,
        ),
        ScheduleKind(
            "schedule",
            t.job_schedules,
            ("name",),
            ("cron", "kind", "args", "enabled"),
            extra=(),
            where=lambda: t.job_schedules.c.name.like("system:%"),
        ),
        SessionKind(
            "session",
            t.sessions,
            ("id_hash",),
            ("user_id", "expires_at", "address", "agent", "data"),
            {"user_id": "user"},
            extra=("created_at",),
        ),
        Kind(
            "user-token",
            t.user_tokens,
            ("uid",),
            (
                "user_id",
                "kind",
                "name",
                "token_hash",
                "scopes",
                "projects",
                "expires_at",
                "client",
                "refresh_hash",
                "generation",
                "refresh_until",
            ),
            {"user_id": "user"},
        ),
        TokenUseKind(
            "user-token-use",
            t.user_tokens,
            ("uid",),
            ("last_used_at", "last_address"),
            extra=(),
            where=lambda: t.user_tokens.c.last_used_at.is_not(None),
        ),
        Kind(
            "login-request",
            t.login_requests,
            ("code_hash",),
            (
                "kind",
                "user_code",
                "state",
                "user_id",
                "scopes",
                "client",
                "address",
                "challenge",
                "redirect_uri",
                "expires_at",
            ),
            {"user_id": "user"},
        ),
        Kind(
            "second-factor",
            t.second_factors,
            ("user_id",),
            ("secret", "confirmed_at", "recovery"),
            {"user_id": "user"},
        ),
        SessionUseKind(
            "session-use",
            t.sessions,
            ("id_hash",),
            ("seen_at",),
            extra=(),
            where=lambda: t.sessions.c.seen_at >= t.sessions.c.created_at + SEEN_GRAIN,
        ),
        TufKind("notary", t.tuf_metadata, ("gun",), project="project_id"),
        RepositoryKind(
            "repository",
            t.repositories,
            ("name",),
            ("project_id",),
            _PROJECT,
            extra=("created_at", "updated_at", "pushed_at"),
            project="project_id",
        ),
        facet("repository-description", t.repositories, ("name",), {"description": ""}, project="project_id"),
        ManifestKind(
            "manifest",
            t.manifests,
            ("repository_id", "digest"),
            ("media_type", "pushed_at"),
            {"repository_id": "repository"},
            extra=(),
        ),
        TagKind(
            "tag",
            t.tags,
            ("repository_id", "name"),
            ("digest", "pushed_at"),
            {"repository_id": "repository"},
            extra=(),
        ),
        # What lost is sent to all, whichever of them noticed.
        Kind(
            "conflict",
            t.peer_conflicts,
            ("kind", "key", "dropped_version"),
            ("kept_version", "note", "dropped"),
            extra=("at", "kept"),
            permanent=True,
        ),
        Kind(
            "artifact-label",
            t.manifest_labels,
            ("manifest_id", "label_id"),
            (),
            {"manifest_id": "manifest", "label_id": "label"},
            extra=("created_at",),
        ),
    )
}
ORDER = {name: number for number, name in enumerate(KINDS)}
CONTENT = frozenset({"repository", "repository-description", "manifest", "tag"})
TABLES: dict[str, list[Kind]] = {}
for _kind in KINDS.values():
    TABLES.setdefault(_kind.table.name, []).append(_kind)
TABLES["tuf_keys"] = [KINDS["notary"]]


def new_names() -> Names:
    """Names for one transaction."""
    return Names(KINDS)
