"""The one MetaData object, the column types all tables share, and what a table says of itself.

Times are Unix seconds (float), digests are `algorithm:hex`. The migrations in `infra/db/migrations` create
the tables; a test holds the two against each other. A table is declared in the `tables.py` of its owner,
which alone imports it. What concerns all tables is said in the table's `info`, so that the machinery here
needs no list of names:

- `"fenced": False`: a site that is not the active one writes it on its own account (see `fence`);
- `"fenced": "quiet"`: such a site drops what would be written, without an error;
- `"dumped": False`: belongs to a running cluster only, and no backup or other site gets it (see `dump`).

In the `info` of a column, `"sealed": True` says that its values are sealed under the cluster's secret key.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData, Table

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives a rowid alias (fast, auto-increment) to INTEGER only; PostgreSQL wants 64 bits.
BigId = BigInteger().with_variant(Integer, "sqlite")

_complete = False


def declare_complete() -> None:
    """Say that every owner's tables are declared: for `seawall.process.tables` only."""
    global _complete
    _complete = True


def all_tables() -> list[Table]:
    """Every table, each after those it refers to.

    Raises RuntimeError while tables may be missing: import `seawall.process.tables` first.
    """
    if not _complete:
        raise RuntimeError("not all tables are declared; import seawall.process.tables first")
    return metadata.sorted_tables
