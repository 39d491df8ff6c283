"""Jobs, their queues, runners, schedules and logs."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from seawall.infra.db.metadata import BigId, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(64), nullable=False),
    # pending, running, success, error, stopped
    Column("status", String(16), nullable=False),
    Column("args", JSON, nullable=False),
    Column("result", JSON),
    Column("error", Text),
    Column("progress", JSON),
    # A second enqueue with the same key is the same job.
    Column("dedup_key", String(255), unique=True),
    # manual, schedule or event; and the schedule's name
    Column("trigger", String(16), nullable=False),
    Column("schedule", String(255)),
    Column("created_at", Float, nullable=False, index=True),
    Column("run_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("attempts", Integer, nullable=False),
    # How often another runner had to take the job from a dead one.
    Column("takeovers", Integer, nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("runner", String(36), index=True),
    # The `traceparent` of the change that made it, where that was traced.
    Column("trace", String(55)),
    Index("ix_jobs_status_run_at", "status", "run_at"),
    Index("ix_jobs_kind_created_at", "kind", "created_at"),
)

job_logs = Table(
    "job_logs",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("job_id", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    # One or more complete lines.
    Column("text", Text, nullable=False),
)

job_schedules = Table(
    "job_schedules",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("cron", String(255), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("args", JSON, nullable=False),
    Column("next_at", Float, nullable=False, index=True),
    # False: a schedule that comes by default was removed, and is not to come back by itself.
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

# One row a kind: its pause switch, and the lock under which its jobs are handed out.
job_queues = Table(
    "job_queues",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("paused", Boolean, nullable=False),
)

# A runner that stops moving `heartbeat_at` is dead, and its jobs are anybody's.
job_runners = Table(
    "job_runners",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(32), nullable=False),
    Column("slots", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("heartbeat_at", Float, nullable=False, index=True),
    info={"fenced": False, "dumped": False},
)

# Harbor's API knows some jobs by a number.
job_numbers = Table(
    "job_numbers",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("job_id", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, unique=True),
)
