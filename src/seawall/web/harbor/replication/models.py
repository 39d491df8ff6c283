"""What the routes of replication share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from seawall.features.replication.model import RegistryInfo as StoredRegistry
from seawall.web.harbor.deps import timestamp

HIDDEN = "*****"
URL = 1024
SECRET = 16 * 1024
# As long as Harbor 2.16 takes.
ACCESS_KEY = 4096
PEM = 256 * 1024
Name = Annotated[str | None, Query(max_length=255)]


class RegistryCredential(BaseModel):
    """How to log in; a stored secret comes back as stars."""

    type: str | None = Field(default=None, max_length=32)
    access_key: str | None = Field(default=None, max_length=ACCESS_KEY)
    access_secret: str | None = Field(default=None, max_length=SECRET)


class Registry(BaseModel):
    """Another registry."""

    id: int | None = None
    name: str | None = Field(default=None, max_length=255)
    type: str | None = Field(default=None, max_length=64)
    url: str | None = Field(default=None, max_length=URL)
    description: str | None = Field(default=None, max_length=4096)
    credential: RegistryCredential | None = None
    insecure: bool | None = None
    ca_certificate: str | None = Field(default=None, max_length=PEM)
    # Ours: where the credentials go in addition to the registry itself.
    token_server: str | None = None
    # Ours: networks (CIDR) inside ours that its redirects may lead to.
    internal_networks: list[str] | None = Field(default=None, max_length=32)
    status: str | None = None
    creation_time: str | None = None
    update_time: str | None = None


class RegistryUpdate(BaseModel):
    """Changes of a registry; what is left out stays."""

    name: str | None = Field(default=None, max_length=255)
    description: str | None = Field(default=None, max_length=4096)
    url: str | None = Field(default=None, max_length=URL)
    credential_type: str | None = Field(default=None, max_length=32)
    access_key: str | None = Field(default=None, max_length=ACCESS_KEY)
    access_secret: str | None = Field(default=None, max_length=SECRET)
    insecure: bool | None = None
    internal_networks: list[str] | None = Field(default=None, max_length=32)
    ca_certificate: str | None = Field(default=None, max_length=PEM)


class RegistryPing(RegistryUpdate):
    """A registry to try; with `id`, what is left out is the stored one's."""

    id: int | None = None
    type: str | None = Field(default=None, max_length=64)


class FilterStyle(BaseModel):
    """A filter and the way its value is given."""

    type: str
    style: str
    values: list[str] | None = None


class RegistryInfo(BaseModel):
    """What a kind of registry can do."""

    type: str
    description: str
    supported_resource_filters: list[FilterStyle]
    supported_triggers: list[str]
    supported_copy_by_chunk: bool


class ReplicationTriggerSettings(BaseModel):
    """Settings of a trigger."""

    cron: str | None = Field(default=None, max_length=255)


class ReplicationTrigger(BaseModel):
    """What starts a policy: manual, scheduled or event_based."""

    type: str | None = Field(default=None, max_length=32)
    trigger_settings: ReplicationTriggerSettings | None = None


class ReplicationFilter(BaseModel):
    """A filter: name, tag or resource with text, label with a list of names."""

    type: str = Field(max_length=32)
    value: str | list[str]
    decoration: str | None = Field(default=None, max_length=32)


class ReplicationPolicy(BaseModel):
    """What is copied where, and when."""

    id: int | None = None
    name: str | None = Field(default=None, max_length=255)
    description: str | None = Field(default=None, max_length=4096)
    src_registry: Registry | None = None
    dest_registry: Registry | None = None
    dest_namespace: str | None = Field(default=None, max_length=255)
    dest_namespace_replace_count: int | None = Field(default=None, ge=-1, le=127)
    trigger: ReplicationTrigger | None = None
    filters: list[ReplicationFilter] | None = Field(default=None, max_length=32)
    replicate_deletion: bool | None = None
    deletion: bool | None = None
    override: bool | None = None
    enabled: bool | None = None
    speed: int | None = Field(default=None, ge=-1, lt=2**31)
    copy_by_chunk: bool | None = None
    single_active_replication: bool | None = None
    creation_time: str | None = None
    update_time: str | None = None


class StartReplicationExecution(BaseModel):
    """Which policy to run."""

    policy_id: int = Field(ge=1, lt=2**53)


class ReplicationExecution(BaseModel):
    """One run of a policy."""

    id: int
    policy_id: int
    status: str
    status_text: str
    trigger: str
    start_time: str | None
    end_time: str | None
    total: int
    failed: int
    succeed: int
    in_progress: int
    stopped: int


class ReplicationTask(BaseModel):
    """A repository's part of a run."""

    id: int
    execution_id: int
    status: str
    job_id: str | None
    operation: str
    resource_type: str
    src_resource: str
    dst_resource: str
    start_time: str | None
    end_time: str | None


def this_registry() -> Registry:
    """The registry that answers, as one of those that policies name."""
    return Registry(id=0, name="Local", type="seawall", url="", status="healthy")


def registry_model(found: StoredRegistry) -> Registry:
    """The API's shape of a registry, its secret hidden."""
    return Registry(
        id=found.id,
        name=found.name,
        type=found.type,
        url=found.url,
        description=found.description,
        credential=RegistryCredential(
            type=found.credential_type,
            access_key=found.access_key,
            access_secret=HIDDEN if found.has_secret else None,
        ),
        insecure=found.insecure,
        ca_certificate=found.ca_certificate,
        token_server=found.token_origin,
        internal_networks=list(found.internal_networks) or None,
        status=found.status,
        creation_time=timestamp(found.created_at),
        update_time=timestamp(found.updated_at),
    )
