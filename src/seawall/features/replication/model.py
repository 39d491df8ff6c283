"""What the parts of replication hand to each other: registries, policies, executions and tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from seawall.kernel import patterns
from seawall.kernel.cron import next_time
from seawall.kernel.errors import InvalidError
from seawall.kernel.names import is_project_name

TRIGGERS = ("manual", "scheduled", "event_based")
RESOURCES = ("image", "artifact")


@dataclass(frozen=True, slots=True)
class RegistryInfo:
    """A registry as it may be shown: no secret."""

    id: int
    name: str
    description: str
    type: str
    url: str
    credential_type: str
    access_key: str | None
    has_secret: bool
    insecure: bool
    ca_certificate: str | None
    token_origin: str | None
    internal_networks: tuple[str, ...]
    status: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter: type name, tag, label or resource; `decoration` matches or excludes."""

    type: str
    value: Any
    decoration: str = "matches"


@dataclass(slots=True)
class ReplicationPolicy:
    """A policy; one of the two registry ids is None, which means this registry.

    `replace_count`: how many leading path components `dest_namespace` stands in for, -1 for all but the
    last. `speed` in kilobits a second for each task, 0 without limit.
    """

    name: str
    description: str = ""
    src_registry_id: int | None = None
    dest_registry_id: int | None = None
    dest_namespace: str = ""
    replace_count: int = -1
    trigger: str = "manual"
    cron: str | None = None
    filters: list[Filter] = field(default_factory=list)
    replicate_deletion: bool = False
    override: bool = True
    enabled: bool = True
    speed: int = 0
    copy_by_chunk: bool = False
    single_active: bool = False
    id: int = 0
    created_at: float = 0
    updated_at: float = 0

    def check(self) -> None:
        """Raise InvalidError with what is wrong."""
        if not 0 < len(self.name) <= 255:
            raise InvalidError("a policy's name has 1 to 255 characters")
        if (self.src_registry_id is None) == (self.dest_registry_id is None):
            raise InvalidError("exactly one of src_registry and dest_registry must be another registry")
        if self.trigger not in TRIGGERS:
            raise InvalidError(f"trigger.type must be one of {', '.join(TRIGGERS)}")
        if self.trigger == "event_based" and self.src_registry_id is not None:
            raise InvalidError("only a policy that pushes can be triggered by events")
        if self.trigger == "scheduled":
            if not self.cron:
                raise InvalidError("trigger.trigger_settings.cron is required")
            next_time(self.cron, 0)
        if self.speed < 0:
            self.speed = 0
        if not -1 <= self.replace_count <= 127:
            raise InvalidError("dest_namespace_replace_count must be -1 or more")
        if self.dest_namespace and not all(is_project_name(p) for p in self.dest_namespace.split("/")):
            raise InvalidError(f"dest_namespace {self.dest_namespace!r} is not a valid name")
        for item in self.filters:
            _check_filter(item)

    def filter_value(self, kind: str) -> str:
        """The value of the name, tag or resource filter, "" without one."""
        return next((str(item.value) for item in self.filters if item.type == kind), "")

    def wants_repository(self, repository: str) -> bool:
        """Whether the name filters let a repository through."""
        return all(patterns.matches(str(i.value), repository) for i in self.filters if i.type == "name")

    def wants_tag(self, tag: str) -> bool:
        """Whether the tag filters let a tag through."""
        return all(
            patterns.matches(str(item.value), tag) != (item.decoration == "excludes")
            for item in self.filters
            if item.type == "tag" and item.value
        )

    @property
    def filters_tags(self) -> bool:
        """Whether there is a tag filter."""
        return any(item.type == "tag" and item.value for item in self.filters)

    @property
    def looks_at_labels(self) -> bool:
        """Whether there is a label filter."""
        return any(item.type == "label" and item.value for item in self.filters)

    def wants_labels(self, labels: set[str]) -> bool:
        """Whether the label filters let an artifact with these labels through."""
        return all(
            set(item.value) <= labels if item.decoration == "matches" else not set(item.value) & labels
            for item in self.filters
            if item.type == "label" and item.value
        )

    def destination(self, repository: str) -> str:
        """The name a repository gets at the destination."""
        if not self.dest_namespace:
            return repository
        parts = repository.split("/")
        count = len(parts) - 1 if self.replace_count < 0 else min(self.replace_count, len(parts) - 1)
        return "/".join([self.dest_namespace, *parts[count:]])


@dataclass(frozen=True, slots=True)
class ReplicationExecution:
    """One run of a policy. Times are Unix seconds; counts are of its tasks."""

    id: int
    policy_id: int
    status: str
    status_text: str
    trigger: str
    started_at: float
    ended_at: float | None
    total: int = 0
    succeed: int = 0
    failed: int = 0
    in_progress: int = 0
    stopped: int = 0


@dataclass(frozen=True, slots=True)
class ReplicationTask:
    """A repository's part of an execution."""

    id: int
    execution_id: int
    status: str
    operation: str
    resource_type: str
    src_resource: str
    dst_resource: str
    job_id: str | None
    started_at: float | None
    ended_at: float | None


def _check_filter(item: Filter) -> None:
    if item.decoration not in ("matches", "excludes"):
        raise InvalidError("a filter's decoration must be matches or excludes")
    if item.type in ("name", "tag"):
        if not isinstance(item.value, str):
            raise InvalidError(f"the value of a {item.type} filter must be text")
        patterns.compiled(item.value)
    elif item.type == "label":
        if not isinstance(item.value, list) or not all(isinstance(value, str) for value in item.value):
            raise InvalidError("the value of a label filter must be a list of names")
    elif item.type == "resource":
        if item.value not in ("", *RESOURCES):
            raise InvalidError(f"the value of a resource filter must be one of {', '.join(RESOURCES)}")
    else:
        raise InvalidError(f"unknown filter type {item.type!r}")
