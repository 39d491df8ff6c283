"""Tables of access for the joins of others: to be read, and never written.

A query function of the owner is the first choice (`access.projects`, `access.robots`). A join with tables
that `access` does not know needs the columns themselves. `FromClause` is what SQLAlchemy selects from;
`insert`, `update` and `delete` of one do not type-check.
"""

from __future__ import annotations

from sqlalchemy import FromClause

from seawall.access import tables

projects: FromClause = tables.projects
users: FromClause = tables.users
