"""A migrated site, on SQLite and on PostgreSQL."""

from tests.support.jobs.site import site

__all__ = ["site"]
