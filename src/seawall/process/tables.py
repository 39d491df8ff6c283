"""Every table of Seawall: importing this module makes the metadata complete.

A table belongs to one room and is declared in that room's `tables.py`. What handles all tables at once (the
fence, a dump, a rotation of the secret key) asks `infra.db.metadata.all_tables`, which refuses to answer
before this module was imported, so no table can be left out by accident. A new `tables.py` is added here;
`tests/component/infra/db/test_migrations.py` fails while it is not.
"""

import seawall.access.tables
import seawall.availability.adopt.tables
import seawall.availability.cluster.tables
import seawall.availability.peers.tables
import seawall.availability.sites.tables
import seawall.features.audit.tables
import seawall.features.immutability.tables
import seawall.features.preheat.tables
import seawall.features.replication.tables
import seawall.features.retention.tables
import seawall.features.scan.tables
import seawall.features.trust.tables
import seawall.features.webhooks.tables
import seawall.infra.db.tables
import seawall.infra.jobs.tables
import seawall.infra.outbox.tables
import seawall.infra.secrets.tables
import seawall.infra.tables
import seawall.registry.tables  # noqa: F401
from seawall.infra.db.metadata import declare_complete

declare_complete()
