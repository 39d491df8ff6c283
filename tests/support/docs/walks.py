"""The ways through the documentation: which pages are read one after the other on one installation."""

from __future__ import annotations

from tests.support.docs.machine import Walk
from tests.support.processes import ROOT

_DATA = {"SEAWALL_DATA_DIR": f"{ROOT}/data"}

_SERVICES = r"""
mkdir -p /etc/seawall /pg
head -c 32 /dev/urandom | base64 >/etc/seawall/master.key
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=db -keyout /pg/key.pem -out /pg/cert.pem \
  -addext subjectAltName=DNS:db1.example.com,DNS:db2.example.com 2>/dev/null
cp /pg/cert.pem /etc/seawall/db-ca.crt
echo '*:*:*:seawall:secret' >/etc/seawall/pgpass
chmod 600 /etc/seawall/pgpass /pg/key.pem
echo secret >/pg/password
chown -R postgres /pg
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
as_postgres() { (cd / && runuser -u postgres -- "$@"); }
as_postgres "$bin/initdb" -D /pg/data -A scram-sha-256 -U seawall --pwfile=/pg/password --no-sync >/dev/null
echo 'host all all all scram-sha-256' >>/pg/data/pg_hba.conf
as_postgres "$bin/pg_ctl" -D /pg/data -w -l /pg/log -o "-k /pg -c listen_addresses=* -c ssl=on \
  -c ssl_cert_file=/pg/cert.pem -c ssl_key_file=/pg/key.pem -c fsync=off" start >/dev/null
PGPASSWORD=secret psql -q -h 127.0.0.1 -U seawall postgres -c 'CREATE DATABASE seawall'
redis-server --port 6379 --daemonize yes >/dev/null
printf 'port 26379\nsentinel monitor seawall 127.0.0.1 6379 1\n' >/run/sentinel.conf
redis-server /run/sentinel.conf --sentinel --daemonize yes >/dev/null
"""

_HARBOR = rf"""
mkdir -p /data/registry /data/secret/keys /pg
printf not-a-secret-key >/data/secret/keys/secretkey
chown postgres /pg
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
as_postgres() {{ (cd / && runuser -u postgres -- "$@"); }}
as_postgres "$bin/initdb" -D /pg/data -A trust -U registry --no-sync >/dev/null
as_postgres "$bin/pg_ctl" -D /pg/data -w -l /pg/log -o "-k /pg -c fsync=off" start >/dev/null
psql -q -h 127.0.0.1 -U registry postgres -c 'CREATE DATABASE registry'
printf '%s\n' 'version: 0.1' 'storage: {{filesystem: {{rootdirectory: /data/registry}}}}' \
  'http: {{addr: "127.0.0.1:5000"}}' >/data/registry.yml
docker-registry serve /data/registry.yml 2>/data/registry.log &
until curl -s http://127.0.0.1:5000/v2/ >/dev/null; do sleep 0.2; done
(cd /data && seawall demo --layout image >/dev/null)
for tag in 1.0 1.1; do
  skopeo copy -q --all --dest-tls-verify=false oci:/data/image:1.0 docker://127.0.0.1:5000/library/app:$tag
done
(cd {ROOT} && .venv/bin/python -m tests.support.harbor.sample \
  postgresql://registry@127.0.0.1/registry /data/registry)
"""

WALKS = [
    # One registry, as README makes it, then what one does with it.
    Walk(
        "first-hour",
        [
            "README.md",
            "docs/artifacts.md",
            "docs/access.md",
            "docs/api.md",
            "docs/quotas.md",
            "docs/retention.md",
            "docs/webhooks.md",
            "docs/audit.md",
            "docs/jobs.md",
            "docs/preheat.md",
            "docs/scanning.md",
            "docs/trust.md",
            "docs/registry.md",
            "docs/replication.md",
            "docs/proxy-cache.md",
            "docs/garbage-collection.md",
            "docs/backup.md",
            "docs/scripting.md",
            "docs/sizing.md",
            "docs/metrics.md",
            "docs/observability.md",
            "docs/tracing.md",
            "docs/support.md",
            "docs/network.md",
            "docs/troubleshooting.md",
            "docs/faq.md",
            "docs/doctor.md",
        ],
        home=str(ROOT),
        environment=_DATA,
    ),
    # A server for each page, or none.
    Walk(
        "one-host",
        [
            "docs/settings.md",
            "docs/shell.md",
            "docs/operations.md",
            "docs/keys.md",
            "docs/storage.md",
            "docs/ldap-oidc.md",
        ],
        apart=True,
    ),
    # Seen from outside: a server for each page again.
    Walk(
        "clients",
        [
            "docs/tls.md",
            "docs/clients.md",
            "docs/mirror.md",
            "docs/ci.md",
            "docs/keyless.md",
            "docs/tokens.md",
            "docs/identity-sources.md",
            "docs/login.md",
            "docs/install/migrate-from-registry.md",
        ],
        apart=True,
    ),
    Walk(
        "plain-host",
        ["docs/install/systemd.md", "docs/upgrade.md", "docs/uninstall.md"],
        before=f"ln -s {ROOT}/.venv/bin/seawall /usr/local/bin/seawall; mkdir /opt/seawall",
    ),
    # A Harbor: its database and key, and its Distribution with an image of two tags in it.
    Walk("adoption", ["docs/install/adopt-harbor.md"], before=_HARBOR),
    Walk("peers", ["docs/peers.md"]),
    Walk("two-sites", ["docs/disaster-recovery.md"]),
    # PostgreSQL, with TLS, at both names of the database; Redis with a Sentinel.
    Walk(
        "shared-services",
        ["docs/database.md", "docs/high-availability.md"],
        apart=True,
        before=_SERVICES,
        environment={
            "SEAWALL_MASTER_KEY_FILE": "/etc/seawall/master.key",
            "PGPASSFILE": "/etc/seawall/pgpass",
        },
    ),
]
