"""Every key that a harbor.yml may have, and what it means for Seawall.

This is one long file on purpose: it declares data, one key after the other.
"""

from __future__ import annotations

import re
from typing import Any

from seawall.install.marked import (
    Anything,
    Items,
    Noted,
    Refused,
    Shape,
    Used,
    choice,
    duration,
    flag,
    hostname,
    number,
    path,
    port,
    text,
    url,
    words,
)

_POOL = "has no effect: Seawall keeps max_open_conns connections, and no others, in each process"
_TRIVY = (
    "has no effect: the scanner is Seawall's own and works offline; import its data with `seawall scan db`"
)
_CLAIR = "has no effect: Seawall's own scanner does Clair's work, and keeps its data in the one database"
_NOTARY = "has no effect: Seawall serves Notary's API itself and keeps signatures in the one database"
_METRICS = "has no effect: metrics are always on, at /metrics of the server's own port"
_INDEX = "has no effect: Seawall keeps everything in one Redis database, harbor_db_index"
_OWN_REDIS = "has no effect: without external_redis the database does its work"
_PARTS = "has no effect: parts are sized by Seawall"
_SWIFT = (
    "is not supported, and blobs must not go elsewhere unnoticed: Seawall reaches Swift by its S3 API; "
    "give s3 with the proxy's URL as regionendpoint and credentials of `openstack ec2 credentials create`"
)
_AGENT = "has no effect: Jaeger's agent is not spoken to; give otel with port 4318 of Jaeger"
_AZURE_LOGIN = "is not supported, and without it blobs could not be stored: give accountname and accountkey"


def _size(value: Any) -> str:
    if not re.fullmatch(r"\d+[kMG]?", str(value)):
        raise ValueError("must be a size such as 200M")
    return str(value)


def _password(value: Any) -> str:
    found = text(value)
    if not 8 <= len(found) <= 128 or not all(re.search(p, found) for p in ("[a-z]", "[A-Z]", "[0-9]")):
        raise ValueError("must have 8 to 128 characters with upper case, lower case and a digit")
    return found


def _share(value: Any) -> float:
    try:
        found = float(text(value))
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise ValueError("must be from 0 to 1")
    return found


def _shared_key(value: Any) -> str:
    if str(value) != "shared_key":
        raise ValueError(_AZURE_LOGIN)
    return str(value)


def _certificate(value: Any) -> str:
    if str(value) in ("/your/certificate/path", "/your/private/key/path"):
        raise ValueError("is still the template's; give the file, or comment the section https out")
    return path(value)


_EXTERNAL_DATABASE: Shape = {
    "host": Used("the host, or several with commas, in `database.url`", words),
    "port": Used("the port in `database.url`", port),
    "db_name": Used("the database in `database.url`", words),
    "username": Used("the user in `database.url`", words),
    "password": Used("the password in `database.url`", text),
    "ssl_mode": Used(
        "`sslmode` in `database.url`",
        choice("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    ),
    "ssl_root_cert": Used("`sslrootcert` in `database.url` (Seawall's own key)", path),
    "max_idle_conns": Noted(_POOL),
    "max_open_conns": Used("a third of it, from 5 to 20, is `database.pool_size`", number(0, 100000)),
    "conn_max_lifetime": Noted(_POOL),
    "conn_max_idle_time": Noted(_POOL),
}

_S3: Shape = {
    "accesskey": Used("`storage.s3.accesskey`", text),
    "secretkey": Used("`storage.s3.secretkey`", text),
    "region": Used("`storage.s3.region`", words),
    "regionendpoint": Used("`storage.s3.regionendpoint`", words),
    "redirectendpoint": Used("`storage.redirect_endpoint`", words),
    "bucket": Used("`storage.s3.bucket`", words),
    "rootdirectory": Used("`storage.s3.rootdirectory`", text),
    "secure": Used("false: http:// before a `regionendpoint` without scheme", flag),
    "forcepathstyle": Used("`storage.s3.forcepathstyle`", flag),
    "skipverify": Used("`storage.s3.skipverify`", flag),
    "v4auth": Noted("has no effect: requests are always signed with version 4"),
    "encrypt": Used("`storage.s3.encrypt`", flag),
    "keyid": Used("`storage.s3.keyid`", text),
    "chunksize": Used("`storage.s3.chunksize`, from 5 MiB to 512 MiB", number(0, 2**40)),
    "storageclass": Used("`storage.s3.storageclass`", words),
    "objectacl": Noted(
        "has no effect: objects are private; give the bucket a policy if they are to be shared"
    ),
    "useragent": Noted("has no effect: requests are Seawall's own"),
    "usedualstack": Used("the endpoint s3.dualstack.REGION.amazonaws.com", flag),
    "accelerate": Used("the endpoint s3-accelerate.amazonaws.com", flag),
    "usefipsendpoint": Used("the endpoint s3-fips.REGION.amazonaws.com", flag),
    "loglevel": Noted("has no effect: see log.level"),
    "multipartcopychunksize": Noted(_PARTS),
    "multipartcopymaxconcurrency": Noted(_PARTS),
    "multipartcopythresholdsize": Noted(_PARTS),
}

_OSS: Shape = {
    "accesskeyid": Used("`storage.s3.accesskey`", text),
    "accesskeysecret": Used("`storage.s3.secretkey`", text),
    "region": Used("`storage.s3.region`; the S3 endpoint is s3.REGION.aliyuncs.com", words),
    "bucket": Used("`storage.s3.bucket`", words),
    "endpoint": Used("`storage.s3.regionendpoint`, without the bucket's name before it", words),
    "internal": Used("the endpoint s3.REGION-internal.aliyuncs.com", flag),
    "encrypt": Used("`storage.s3.encrypt`", flag),
    "encryptionkeyid": Used("`storage.s3.keyid`", text),
    "secure": Used("false: http:// before the endpoint", flag),
    "chunksize": Used("`storage.s3.chunksize`, from 5 MiB to 512 MiB", number(0, 2**40)),
    "rootdirectory": Used("`storage.s3.rootdirectory`", text),
}

_GCS: Shape = {
    "bucket": Used("`storage.gcs.bucket`", words),
    "keyfile": Used("`storage.gcs.keyfile`", path),
    "credentials": Used("written to `common/config/gcs.json`, which is `storage.gcs.keyfile`", Anything()),
    "rootdirectory": Used("`storage.gcs.rootdirectory`", text),
    "chunksize": Used("`storage.gcs.chunksize`, from 5 MiB to 512 MiB", number(0, 2**40)),
    "maxconcurrency": Noted("has no effect: Seawall's servers bound their own work"),
    "useragent": Noted("has no effect: requests are Seawall's own"),
}

_AZURE: Shape = {
    "accountname": Used("`storage.azure.accountname`", words),
    "accountkey": Used("`storage.azure.accountkey`", words),
    "container": Used("`storage.azure.container`", words),
    "rootdirectory": Used("`storage.azure.rootdirectory`", text),
    "realm": Used("`storage.azure.endpoint`: https://ACCOUNT.blob.REALM", words),
    "serviceurl": Used("`storage.azure.endpoint`", url),
    "connectionstring": Refused(_AZURE_LOGIN),
    "credentials": {
        "type": Used("`shared_key` only: the account's key", _shared_key),
        "clientid": Refused(_AZURE_LOGIN),
        "tenantid": Refused(_AZURE_LOGIN),
        "secret": Refused(_AZURE_LOGIN),
    },
    "skipverify": Noted("has no effect: certificates of the store are always verified"),
    "max_retries": Noted("has no effect: see storage.retry_seconds"),
    "retry_delay": Noted("has no effect: see storage.retry_seconds"),
}

SHAPE: Shape = {
    "_version": Used("any is taken", text),
    "hostname": Used("the host in `external_url`, when that is not given", hostname),
    "external_url": Used("`external_url`", url),
    "http": {"port": Used("`http.port`; with https the port that redirects there", port)},
    "https": {
        "port": Used("`http.port`", port),
        "certificate": Used("`http.tls_certificate`", _certificate),
        "private_key": Used("`http.tls_key`", _certificate),
        "strong_ssl_ciphers": Noted("has no effect: only TLS 1.2 and 1.3 with strong ciphers are offered"),
    },
    "ip_family": {
        "ipv4": {"enabled": Noted("has no effect: IPv4 is always served")},
        "ipv6": {"enabled": Used("`http.host` is ::", flag)},
    },
    "internal_tls": Noted("has no effect: the components are one process"),
    "harbor_admin_password": Used("`admin_password`, at the first start", _password),
    "database": {
        "password": Noted("has no effect: without external_database Seawall's own embedded database is used"),
        "max_idle_conns": Noted(_POOL),
        "max_open_conns": Noted(_POOL),
        "conn_max_lifetime": Noted(_POOL),
        "conn_max_idle_time": Noted(_POOL),
    },
    "data_volume": Used("`data_dir` and all keys are below it", path),
    "storage_service": {
        "ca_bundle": Used("`storage.s3.cacert`, and `ca_bundle`: added to the public authorities", path),
        "redirect": {
            "disable": Used("`storage.redirect` is the opposite", flag),
            "disabled": Used("`storage.redirect` is the opposite", flag),
        },
        "filesystem": {
            "rootdirectory": Used("`storage.root`", path),
            "maxthreads": Noted("has no effect: Seawall's servers bound their own work"),
        },
        "s3": _S3,
        "gcs": _GCS,
        "azure": _AZURE,
        "swift": Refused(_SWIFT),
        "oss": _OSS,
    },
    "external_database": {
        "harbor": _EXTERNAL_DATABASE,
        "clair": Noted(_CLAIR),
        "notary_server": Noted(_NOTARY),
        "notary_signer": Noted(_NOTARY),
    },
    "redis": {
        "registry_db_index": Noted(_OWN_REDIS),
        "jobservice_db_index": Noted(_OWN_REDIS),
        "trivy_db_index": Noted(_OWN_REDIS),
        "harbor_db_index": Noted(_OWN_REDIS),
        "cache_layer_db_index": Noted(_OWN_REDIS),
        "cache_db_index": Noted(_OWN_REDIS),
        "password": Noted(_OWN_REDIS),
    },
    "external_redis": {
        "host": Used("`redis.url`, or `redis.sentinel` when there are several", words),
        "port": Used("the port where host has none", port),
        "password": Used("`redis.password`", text),
        "username": Used("`redis.username`", text),
        "sentinel_master_set": Used("`redis.sentinel_master`", words),
        "tlsOptions": {
            "enable": Used("`redis.tls`", flag),
            "rootCA": Used("`redis.tls_ca_file`", path),
        },
        "harbor_db_index": Used("the database number of `redis`", number(0, 1000)),
        "registry_db_index": Noted(_INDEX),
        "jobservice_db_index": Noted(_INDEX),
        "trivy_db_index": Noted(_INDEX),
        "cache_layer_db_index": Noted(_INDEX),
        "chartmuseum_db_index": Noted(_INDEX),
        "clair_db_index": Noted(_INDEX),
        "idle_timeout_seconds": Noted("has no effect: idle connections are kept and tested before use"),
    },
    "trivy": Noted(_TRIVY),
    "clair": Noted(_TRIVY),
    "chart": Noted("has no effect: charts are OCI artifacts, which `helm push` brings"),
    "chartmuseum": Noted("has no effect: charts are OCI artifacts, which `helm push` brings"),
    "jobservice": {
        "max_job_workers": Used("`jobs.slots`, at most 200", number(1, 1000)),
        "max_job_duration_hours": Noted("has no effect: jobs stop when they are asked to"),
        "job_loggers": Noted("has no effect: logs of jobs are kept in the database"),
        "logger_sweeper_duration": Used("`jobs.keep_days`", number(1, 3650)),
    },
    "notification": {
        "webhook_job_max_retry": Noted("has no effect: webhooks are tried again for as long as is of use"),
        "webhook_job_http_client_timeout": Used("`webhooks.timeout_seconds`", number(1, 120)),
    },
    "log": {
        "level": Used("`log.level`", choice("debug", "info", "warning", "warn", "error", "fatal")),
        # Where Harbor 1.8 has them; `local` is stronger.
        "rotate_count": Used("`rotate` in `common/config/logrotate.conf`", number(0, 100000)),
        "rotate_size": Used("`size` in `common/config/logrotate.conf`", _size),
        "location": Used("the folder that the units log to", path),
        "local": {
            "rotate_count": Used("`rotate` in `common/config/logrotate.conf`", number(0, 100000)),
            "rotate_size": Used("`size` in `common/config/logrotate.conf`", _size),
            "location": Used("the folder that the units log to", path),
        },
        "external_endpoint": {
            "protocol": Used("the target in `common/config/rsyslog.conf`", choice("tcp", "udp")),
            "host": Used("the target in `common/config/rsyslog.conf`", words),
            "port": Used("the target in `common/config/rsyslog.conf`", port),
        },
    },
    "uaa": Noted("has no effect: use OIDC or LDAP"),
    "proxy": {
        "http_proxy": Used("`http_proxy` in `common/config/seawall.env`", text),
        "https_proxy": Used("`https_proxy` in `common/config/seawall.env`", text),
        "no_proxy": Used("`no_proxy` in `common/config/seawall.env`", text),
        "components": Used(
            "the proxy is used if core or jobservice is among them",
            Items(
                choice(
                    "core", "jobservice", "registry", "trivy", "clair", "notary", "notary_server",
                    "notary_signer", "chartmuseum", "registryctl", "exporter",
                )
            ),
        ),
    },
    "metric": {"enabled": Noted(_METRICS), "port": Noted(_METRICS), "path": Noted(_METRICS)},
    "trace": {
        "enabled": Used("`trace.enabled`", flag),
        "sample_rate": Used("`trace.sample_rate`", _share),
        "namespace": Used("`trace.namespace`", text),
        "attributes": Used("`trace.attributes`", Anything()),
        "jaeger": {
            "endpoint": Used("`trace.endpoint`, where it is one of OTLP (port 4318 or /v1/traces)", words),
            "username": Used("Authorization in `trace.headers`", text),
            "password": Used("Authorization in `trace.headers`", text),
            "agent_host": Noted(_AGENT),
            "agent_port": Noted(_AGENT),
        },
        "otel": {
            "endpoint": Used("`trace.endpoint`", words),
            "url_path": Used("the path in `trace.endpoint`", words),
            "compression": Used("`trace.compression`", flag),
            "insecure": Used("true: http:// in `trace.endpoint`; false or absent: https://", flag),
            "timeout": Used("`trace.timeout_seconds`", duration),
        },
    },
    "upload_purging": {
        "enabled": Used("false: `gc.upload_hours` is left as it is", flag),
        "age": Used("`gc.upload_hours`", duration),
        "interval": Noted("has no effect: garbage collection purges uploads, by gc.schedule"),
        "dryrun": Noted("has no effect: see `seawall gc --dry-run`"),
    },
    "cache": {
        "enabled": Noted("has no effect: caches are always on"),
        "expire_hours": Noted("has no effect: caches are always right, so nothing has to expire"),
    },
    "core": {"quota_update_provider": Noted("has no effect: quotas are exact, kept in the database")},
    "seawall": Used("settings of seawall.yml, merged over the rest's (Seawall's own)", Anything()),
}  # fmt: skip
