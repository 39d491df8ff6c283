"""The metadata database: SQLite (embedded) or PostgreSQL, behind one small interface."""

from seawall.infra.db.engine import Database, open_database

__all__ = ["Database", "open_database"]
