"""The API's shapes of preheating."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, Field

Name = Annotated[str, Path(max_length=255)]
Text = Annotated[str | None, Field(max_length=65536)]


class PreheatProvider(BaseModel):
    """A kind of network."""

    id: str
    name: str
    source: str


class ProviderUnderProject(BaseModel):
    """An instance, as a project's admin sees it."""

    id: int
    provider: str
    enabled: bool
    default: bool


class PreheatInstance(BaseModel):
    """A network. `auth_info` is never shown; left out of an update, it stays."""

    id: int | None = Field(None, ge=0, lt=2**53)
    name: str | None = Field(None, max_length=255)
    description: str | None = Field(None, max_length=4096)
    vendor: str | None = Field(None, max_length=64)
    endpoint: str | None = Field(None, max_length=1024)
    auth_mode: str | None = Field(None, max_length=16)
    auth_info: dict[str, Annotated[str, Field(max_length=8192)]] | None = Field(default=None, max_length=16)
    status: str | None = Field(None, max_length=32)
    enabled: bool | None = None
    default: bool | None = None
    insecure: bool | None = None
    setup_timestamp: int | None = Field(None, ge=0, lt=2**53)


class PreheatPolicy(BaseModel):
    """A policy. `filters`, `trigger` and `extra_attrs` are JSON text, as in Harbor."""

    id: int | None = Field(None, ge=0, lt=2**53)
    name: str | None = Field(None, max_length=255)
    description: str | None = Field(None, max_length=4096)
    project_id: int | None = Field(None, ge=0, lt=2**53)
    provider_id: int | None = Field(None, ge=0, lt=2**53)
    provider_name: str | None = Field(None, max_length=255)
    filters: Text = None
    trigger: Text = None
    enabled: bool | None = None
    extra_attrs: Text = None
    creation_time: str | None = Field(None, max_length=64)
    update_time: str | None = Field(None, max_length=64)


class PreheatMetrics(BaseModel):
    """Numbers of tasks."""

    task_count: int = 0
    success_task_count: int = 0
    error_task_count: int = 0
    pending_task_count: int = 0
    running_task_count: int = 0
    stopped_task_count: int = 0


class PreheatExecution(BaseModel):
    """A run of a policy. In a PATCH, only `status` counts: Stopped."""

    id: int | None = Field(None, ge=0, lt=2**53)
    vendor_type: str | None = Field(None, max_length=64)
    vendor_id: int | None = Field(None, ge=0, lt=2**53)
    status: str | None = Field(None, max_length=16)
    status_message: str | None = Field(None, max_length=65536)
    metrics: PreheatMetrics | None = None
    trigger: str | None = Field(None, max_length=16)
    extra_attrs: dict[str, Any] | None = None
    start_time: str | None = Field(None, max_length=64)
    end_time: str | None = Field(None, max_length=64)


class PreheatTask(BaseModel):
    """The preheating of one tag."""

    id: int
    execution_id: int
    status: str
    status_message: str
    run_count: int
    extra_attrs: dict[str, Any]
    creation_time: str | None
    update_time: str | None
    start_time: str | None
    end_time: str | None
