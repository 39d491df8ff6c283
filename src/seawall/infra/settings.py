"""Typed settings: `seawall.yml`, environment (`SEAWALL_...`) and command-line flags.

Order of precedence, strongest first: flags, environment, file, defaults. Nested settings use a
double underscore in the environment: `SEAWALL_DATABASE__URL`, `SEAWALL_HTTP__PORT`.
Unknown keys are refused, so a typing mistake is found by `seawall config check` and not in production.

This is one long file on purpose: it declares data, and who looks for a setting finds all of them here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from seawall.kernel.cron import checked, six_fields
from seawall.kernel.errors import InvalidError
from seawall.kernel.names import is_project_name

MIB = 1024 * 1024


def _checked_networks(value: list[str]) -> list[str]:
    for item in value:
        ipaddress.ip_network(item, strict=False)
    return value


_Networks = Annotated[list[str], AfterValidator(_checked_networks)]


# Longest durations, by the end of a setting's name. PostgreSQL and epoll count milliseconds in 32 bits; times
# far beyond a century are none to Python's clocks.
_LONGEST = {"seconds": 2_000_000, "minutes": 52_560_000, "hours": 876_000, "days": 36_500}
_LARGEST = 10**15


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _not_yes(cls, value: object, info: ValidationInfo) -> object:
        # YAML reads yes, on and their like as true, and to Python true is the number 1.
        field = cls.model_fields[info.field_name or ""]
        kinds = get_args(field.annotation) or (field.annotation,)
        if isinstance(value, bool) and bool not in kinds and {int, float} & set(kinds):
            raise ValueError("must be a number, and not true or false (yes and no in YAML)")
        return value

    @field_validator("*")
    @classmethod
    def _in_reach(cls, value: object, info: ValidationInfo) -> object:
        _whole_path(value)
        if isinstance(value, (int, float)):
            most = _LONGEST.get((info.field_name or "").rpartition("_")[2], _LARGEST)
            if value > most:
                raise ValueError(f"must be {most} or less")
        return value


def _whole_path(value: object) -> object:
    if isinstance(value, Path) and value.parts[:1] and value.parts[0].startswith("~"):
        # A folder of that name would be made in the working directory.
        raise ValueError(f"{value}: only a shell knows what ~ stands for; write the whole path")
    return value


def _is_host(value: str) -> bool:
    """Whether it can be the name or address of a host: not a placeholder such as <registry>, nor a URL."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(value.partition("%")[0]))
    return re.fullmatch(r"[\w.-]+", value) is not None


def _leads_to_a_host(url: str) -> bool:
    """Whether host and port can be right; its text is in no error: there may be a password in it."""
    try:
        parts = urlsplit(url)
        return _is_host(parts.hostname or "") and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _checked_url(value: str) -> str:
    """A URL that leads to a host."""
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    if " " in value or not _leads_to_a_host(value):
        raise ValueError("must be a URL with a host, such as https://registry.example.com:8443")
    return value


def _checked_hosts(value: str) -> str:
    """`host:port,host:port`, as Redis has it; the port may be left out."""
    for item in value.split(","):
        match = re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", item.strip())
        if match is None or not 0 < int(match[2] or 1) < 65536:
            raise ValueError("must be host:port, or several with commas")
    return value


class Http(_Section):
    """Where the server listens, and TLS."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0: any free one")
    workers: int = Field(default=2, ge=1, le=256, description="server processes")
    tls_certificate: Path | None = Field(default=None, description="PEM file; tls_key must be given too")
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's key")
    redirect_port: int | None = Field(
        default=None, ge=1, le=65535, description="with TLS: a port for plain http that redirects to https"
    )
    drain_seconds: int = Field(
        default=30, ge=0, description="time that running requests get to finish after SIGTERM"
    )
    drain_notice_seconds: float = Field(
        default=0,
        ge=0,
        description="time after SIGTERM in which /readyz answers 503 while requests are still taken",
    )
    drain_transfer_seconds: float = Field(
        default=60,
        ge=0,
        description="how much longer the port stays open after the notice while transfers are running",
    )
    body_silence_seconds: float = Field(
        default=60, gt=0, description="a request whose body pauses for this long is broken off"
    )
    requests_per_address: int = Field(
        default=2048, ge=0, description="requests from one address at a time in a server process; 0: no limit"
    )
    requests: int = Field(
        default=4096, ge=1, description="requests at a time in a server process; health checks do not count"
    )
    pushes: int | None = Field(
        default=None,
        ge=1,
        description="requests of pushes that a server process works on at a time; projects take turns; by "
        "default 64 with SQLite, and twice database.pool_size with PostgreSQL",
    )
    pushes_waiting: int = Field(
        default=2048,
        ge=0,
        description="requests of pushes that wait for their turn in a server process; more get 429",
    )
    push_wait_seconds: float = Field(
        default=60, gt=0, description="how long a request of a push waits for its turn before it gets 429"
    )
    streams: int = Field(
        default=512,
        ge=0,
        description="event streams of the portal at a time in a server process; more get 429, and the portal "
        "asks again and again instead",
    )
    streams_per_user: int = Field(
        default=16, ge=1, description="event streams of one user at a time in a server process"
    )
    trusted_proxies: list[str] | str = Field(
        default=[], description="addresses and networks of proxies whose X-Forwarded-* headers are trusted"
    )
    accelerate: Literal["nginx"] | None = Field(
        default=None,
        description="nginx: the trusted proxies are nginx, and send the files of blobs themselves",
    )

    @field_validator("host")
    @classmethod
    def _a_host(cls, value: str) -> str:
        if not _is_host(value):
            raise ValueError(f"{value!r} must be an address or a name of this host; http.port has the port")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str] | str) -> list[str]:
        items = value.split(",") if isinstance(value, str) else value
        found = [item.strip() for item in items if item.strip()]
        for item in found:
            try:
                ipaddress.ip_network(item, strict=False)
            except ValueError:
                raise ValueError(f"{item} is neither an address nor a CIDR") from None
        return found

    @model_validator(mode="after")
    def _tls_pair(self) -> Http:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be given together")
        if self.redirect_port is not None and (self.tls_key is None or self.redirect_port == self.port):
            raise ValueError("redirect_port needs tls_certificate, and another number than port")
        if self.accelerate and not self.trusted_proxies:
            raise ValueError("accelerate needs trusted_proxies: the addresses of nginx")
        return self


class DatabaseSettings(_Section):
    """The metadata database. No URL means SQLite below `data_dir`."""

    url: str | None = Field(
        default=None,
        repr=False,
        description="postgresql://user@host/name or sqlite:///FILE; may contain a password; without it, "
        "SQLite in data_dir",
    )
    pool_size: int = Field(
        default=10,
        ge=1,
        le=500,
        description="most connections that a server process keeps; it keeps four at least",
    )
    retry_seconds: float = Field(
        default=5,
        ge=0,
        le=300,
        description="how long a transaction is tried again after a lost connection or a conflict",
    )
    statement_seconds: int = Field(
        default=60, ge=0, description="most time that a statement may take; 0: no limit"
    )
    connect_seconds: int = Field(default=2, ge=2, description="how long to wait for each host of the URL")
    # Named as libpq names them; each may be in the URL instead.
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = Field(
        default=None, description="TLS to PostgreSQL, as libpq names it"
    )
    sslrootcert: Path | None = Field(
        default=None, description="PEM file of the authority that signed the server's certificate"
    )
    sslcert: Path | None = Field(default=None, description="PEM file of the client certificate")
    sslkey: Path | None = Field(default=None, description="PEM file of the client certificate's key")

    @field_validator("url")
    @classmethod
    def _known_dialect(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ValueError("must start with sqlite:/// or postgresql://")
        if value is not None and re.search(r"%(?![0-9A-Fa-f]{2})", value):
            # libpq's own message prints the password from there on.
            raise ValueError("a % in it, in a password for example, must be written as %25")
        if value is not None and not value.startswith("sqlite"):
            # The hosts, each with its port, are between the @ and the path; options may have an @ too.
            hosts = re.split("[/?]", value.partition("://")[2])[0].rpartition("@")[2]
            ports = [
                host.rpartition(":")[2] for host in hosts.split(",") if re.search(r"(?<!:):[^\]:]*$", host)
            ]
            if not all(
                re.fullmatch(r"(\d{1,5})?", port) and int(port or 1) in range(1, 65536) for port in ports
            ):
                raise ValueError("a port is a number from 1 to 65535")
        return value

    def connection_url(self) -> str:
        """The URL with the other connection settings in it; what the URL says itself is kept."""
        url = self.url or ""
        if url.startswith("sqlite"):
            return url
        given = parse_qs(url.partition("?")[2], keep_blank_values=True)
        options = {
            "connect_timeout": self.connect_seconds,
            "sslmode": self.sslmode,
            "sslrootcert": self.sslrootcert,
            "sslcert": self.sslcert,
            "sslkey": self.sslkey,
        }
        added = {k: str(v) for k, v in options.items() if v is not None and k not in given}
        # %20 and not "+": libpq reads a plus sign as it stands.
        return f"{url}{'&' if '?' in url else '?'}{urlencode(added, quote_via=quote)}"


class _Bucket(_Section):
    rootdirectory: str = Field(default="", description="prefix of every object's name")
    chunksize: int = Field(
        default=10 * MIB, ge=5 * MIB, le=512 * MIB, description="bytes of a multipart upload's parts"
    )


class S3Settings(_Bucket):
    """Amazon S3 and what speaks its protocol. Keys may also come from the environment or the instance."""

    bucket: str = Field(default="", description="name of the bucket")
    region: str = Field(default="us-east-1", description="region of the bucket")
    regionendpoint: str | None = Field(
        default=None, description="URL of the S3 server, where it is not Amazon's"
    )
    accesskey: str | None = Field(
        default=None,
        repr=False,
        description="access key; without it, Seawall uses the credentials of the host's environment",
    )
    secretkey: str | None = Field(default=None, repr=False, description="secret of the access key")
    sessiontoken: str | None = Field(default=None, repr=False, description="token of temporary credentials")
    forcepathstyle: bool = Field(default=True, description="bucket in the path, not in the host name")
    skipverify: bool = Field(default=False, description="accept any TLS certificate")
    cacert: Path | None = Field(default=None, description="PEM file of the authority to trust")
    encrypt: bool = Field(default=False, description="server-side encryption with the store's keys")
    keyid: str | None = Field(default=None, description="KMS key for server-side encryption")
    storageclass: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,40}$",
        description="storage class of new blobs, for instance STANDARD_IA",
    )


class GcsSettings(_Bucket):
    """Google Cloud Storage. Without keyfile, the instance's own identity."""

    bucket: str = Field(default="", description="name of the bucket")
    keyfile: Path | None = Field(default=None, description="JSON file of the service account")
    endpoint: str | None = Field(default=None, description="address of the API, where it is not Google's")


class AzureSettings(_Bucket):
    """Azure Blob Storage."""

    container: str = Field(default="", description="name of the container")
    accountname: str = Field(default="", description="name of the storage account")
    accountkey: str | None = Field(default=None, repr=False, description="key of the storage account")
    endpoint: str | None = Field(default=None, description="address of the service, where it is not Azure's")


class CacheSettings(_Section):
    """Blobs of an object store that are kept on a local disk for readers."""

    root: Path | None = Field(default=None, description="folder of the cache; without it, there is no cache")
    bytes: int = Field(
        default=10 * 1024 * MIB, ge=64 * MIB, description="most bytes that the cache may take of the disk"
    )


class StorageSettings(_Section):
    """Where blob bytes live. No root means `data_dir/blobs`."""

    driver: Literal["filesystem", "s3", "gcs", "azure"] = Field(
        default="filesystem", description="where blobs are"
    )
    root: Path | None = Field(
        default=None, description="directory of the filesystem driver; without it, blobs below data_dir"
    )
    s3: S3Settings = S3Settings()
    gcs: GcsSettings = GcsSettings()
    azure: AzureSettings = AzureSettings()
    cache: CacheSettings = CacheSettings()
    redirect: bool = Field(
        default=False, description="send clients to presigned URLs of the object store for blobs"
    )
    redirect_endpoint: str | None = Field(
        default=None, description="the object store's URL as clients reach it"
    )
    redirect_seconds: int = Field(
        default=1200, ge=10, le=604800, description="how long a presigned URL is valid"
    )
    timeout_seconds: float = Field(
        default=5,
        gt=0,
        description="a request to the object store fails when the store is silent for this long",
    )
    retry_seconds: float = Field(default=2, ge=0, description="how long a failed request is tried again")
    upload_memory: int = Field(
        default=128 * MIB,
        ge=64 * MIB,
        description="most bytes of uploads to an object store that a process holds in memory",
    )

    receipts: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="record each push in storage too; auto: while a failover of the database can lose pushes",
    )

    @model_validator(mode="after")
    def _complete(self) -> StorageSettings:
        if self.cache.root is not None and self.driver == "filesystem":
            raise ValueError("cache is for object stores; driver filesystem has the blobs on a disk")
        given = {"s3": self.s3.bucket, "gcs": self.gcs.bucket, "azure": self.azure.container}
        for driver, place in given.items():
            name = f"{driver}.{'container' if driver == 'azure' else 'bucket'}"
            if place and driver != self.driver:
                # Silently on the disk, everything would look well until the host is lost.
                raise ValueError(f"{name} is given, and driver is {self.driver}; set driver: {driver}")
            if "://" in place:
                raise ValueError(f"{name} is a name, and not a URL")
        if self.driver == "s3" and not self.s3.bucket:
            raise ValueError("driver s3 needs s3.bucket")
        if (self.s3.accesskey is None) != (self.s3.secretkey is None):
            raise ValueError("s3.accesskey and s3.secretkey must be given together")
        if self.driver == "gcs" and not self.gcs.bucket:
            raise ValueError("driver gcs needs gcs.bucket")
        if self.driver == "azure" and not (self.azure.container and self.azure.accountname):
            raise ValueError("driver azure needs azure.container and azure.accountname")
        urls = {
            "s3.regionendpoint": self.s3.regionendpoint,
            "gcs.endpoint": self.gcs.endpoint,
            "azure.endpoint": self.azure.endpoint,
            "redirect_endpoint": self.redirect_endpoint,
        }
        for name, url in urls.items():
            if url is not None:
                try:
                    _checked_url(url)
                except ValueError as error:
                    raise ValueError(f"{name} {error}") from None
        return self


class AuthSettings(_Section):
    """Authentication of clients."""

    mode: Literal["local", "none"] = Field(
        default="local",
        description="local: users sign in; none: anyone may do anything, and a push makes its project",
    )

    @field_validator("mode", mode="before")
    @classmethod
    def _mode_of_users(cls, value: object) -> object:
        if str(value).removesuffix("_auth") in ("ldap", "oidc"):
            raise ValueError(
                f"{value} is chosen in the portal or with PUT /configurations (docs/ldap-oidc.md), not here"
            )
        return value

    service: str = Field(default="seawall", description="audience of tokens")
    token_minutes: int = Field(default=30, ge=1, le=1440, description="how long a token is valid")
    session_hours: float = Field(
        default=24, gt=0, description="how long a session of the portal lasts at most"
    )
    session_idle_minutes: float = Field(
        default=60, gt=0, description="a session of the portal ends when nobody uses it for this long"
    )
    login_attempts: int = Field(
        default=5, ge=1, description="failed logins after which the next one must wait"
    )
    login_wait_seconds: int = Field(
        default=30,
        ge=1,
        description="the first wait after too many failed logins; each further wait is longer",
    )
    issuer_networks: _Networks = Field(
        default=[],
        description="private networks in which issuers of robot tokens may be; without it, only public "
        "addresses are asked",
    )
    issuer_token_hours: float = Field(
        default=24,
        gt=0,
        le=8760,
        description="how long a token of an issuer may be valid; one that lives longer is refused",
    )


class KeysSettings(_Section):
    """Keys of the cluster: files to import them from, and the pace of rotation."""

    private_key_file: Path | None = Field(
        default=None, description="file of a key to import: it signs tokens"
    )
    root_crt_file: Path | None = Field(
        default=None, description="file of a key to import: the certificate of the token key"
    )
    csrf_key_file: Path | None = Field(
        default=None, description="file of a key to import: it signs CSRF tokens"
    )
    secret_key_file: Path | None = Field(
        default=None, description="file of a key to import: it encrypts stored credentials"
    )
    on_mismatch: Literal["refuse", "heal"] = Field(
        default="refuse",
        description="what to do when a file differs from the cluster's key: refuse to start, or heal: use "
        "the cluster's key and warn",
    )
    poll_seconds: float = Field(
        default=2, gt=0, le=60, description="how often an instance looks for new keys"
    )
    publish_seconds: float = Field(
        default=15, ge=0, le=3600, description="time between the publication of a new key and its first use"
    )

    @model_validator(mode="after")
    def _seen_before_used(self) -> KeysSettings:
        if self.publish_seconds < 2 * self.poll_seconds:
            raise ValueError("publish_seconds must be at least twice poll_seconds")
        return self


class RedisSettings(_Section):
    """Redis: one server (`url`), Sentinel or Cluster; none of them means the database does its work."""

    url: str | None = Field(default=None, repr=False, description="redis://, rediss:// or unix://")
    sentinel: str | None = Field(default=None, description="sentinels: host:port,host:port")
    sentinel_master: str = Field(default="seawall", description="name of the master that the Sentinels watch")
    sentinel_password: str | None = Field(default=None, repr=False, description="password of the Sentinels")
    cluster: str | None = Field(default=None, description="nodes of a cluster: host:port,host:port")
    username: str | None = Field(default=None, description="user at Redis")
    password: str | None = Field(default=None, repr=False, description="password at Redis")
    db: int = Field(default=0, ge=0, description="number of the database at Redis")
    tls: bool = Field(
        default=False,
        description="use TLS to Sentinel and Cluster; for a single Redis write rediss:// in the URL",
    )
    tls_ca_file: Path | None = Field(
        default=None, description="PEM file of the authority that signed Redis' certificate"
    )
    tls_certificate: Path | None = Field(default=None, description="PEM file of the client certificate")
    tls_key: Path | None = Field(default=None, description="PEM file of the client certificate's key")
    timeout_seconds: float = Field(
        default=0.5, gt=0, le=30, description="a Redis that does not answer in this time counts as lost"
    )

    @field_validator("sentinel", "cluster")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        return _checked_hosts(value) if value else None

    @property
    def configured(self) -> bool:
        """Whether there is a Redis at all."""
        return bool(self.url or self.sentinel or self.cluster)

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        if value is not None and not value.startswith("unix://") and not _leads_to_a_host(value):
            raise ValueError("must be a URL with a host, such as redis://redis.example.com:6379")
        return value

    @model_validator(mode="after")
    def _one_form(self) -> RedisSettings:
        given = [name for name in ("url", "sentinel", "cluster") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set; set one")
        return self


class HaSettings(_Section):
    """Instances that together are one registry."""

    address: str | None = Field(default=None, description="URL at which the other instances reach this one")
    heartbeat_seconds: float = Field(
        default=3, gt=0, le=60, description="how often an instance reports that it is alive"
    )
    dead_seconds: float = Field(
        default=12, gt=0, description="an instance that has not reported for this long counts as dead"
    )
    unready_seconds: float = Field(
        default=3, ge=0, description="a fault of database or storage that lasts this long makes /readyz fail"
    )

    @model_validator(mode="after")
    def _beats_before_dead(self) -> HaSettings:
        if self.dead_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("dead_seconds must be at least twice heartbeat_seconds")
        return self

    @field_validator("address")
    @classmethod
    def _absolute_url(cls, value: str | None) -> str | None:
        return None if value is None else _checked_url(_bracketed(value))


def _bracketed(url: str) -> str:
    """`http://fd00::1:8080`, as Kubernetes' $(POD_IP) gives it, with the brackets that a URL has."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":")
    if ":" in host and "[" not in host:
        return f"{scheme}://[{host}]:{port}"
    return url


def _is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent to an address: https, or this host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        return parts.scheme == "https" or ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class PeerSettings(_Section):
    """Own-storage HA: other instances, with a database and a storage of their own, to be kept equal with."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,48}$", description="this instance's own name")
    urls: list[str] = Field(default=[], description="URLs at which this instance reaches the others directly")
    interval_seconds: float = Field(
        default=1, gt=0, le=60, description="time between two rounds of asking the peers"
    )
    settle_seconds: float = Field(
        default=2,
        ge=0,
        le=30,
        description="how long an answer waits at most until the reachable peers have taken the change",
    )
    timeout_seconds: float = Field(
        default=10, gt=0, description="a peer that is silent for this long counts as away"
    )
    compare_minutes: float = Field(default=10, gt=0, description="time between full comparisons")
    tombstone_days: float = Field(default=30, ge=1, description="how long deletions are remembered")
    allow_http: bool = Field(
        default=False,
        description="allow plain http to and from peers, where the network between them is private",
    )

    @field_validator("urls")
    @classmethod
    def _absolute_urls(cls, value: list[str]) -> list[str]:
        for item in value:
            _checked_url(item)
        return list(dict.fromkeys(item.rstrip("/") for item in value))

    @model_validator(mode="after")
    def _named(self) -> PeerSettings:
        if self.urls and not self.name:
            raise ValueError("urls need a name for this instance (peers.name), different on each")
        for item in self.urls:
            if not self.allow_http and not _is_private(item):
                raise ValueError(f"{item} must be https (or set peers.allow_http: a private network)")
        return self


class DrSettings(_Section):
    """Two sites (data centers), one active and one standby. Off while `site` is empty."""

    site: str = Field(
        default="", max_length=64, description="this site's name, the same at all its instances"
    )
    start_as: Literal["active", "standby"] = Field(
        default="active", description="role at the very first start; after that the database knows it"
    )
    peer: str | None = Field(default=None, description="URL of the other site")
    ca_file: Path | None = Field(default=None, description="CA of the other site and the witness (PEM)")
    witness: str | None = Field(default=None, description="URL of the witness, at a third place")
    allow_http: bool = Field(
        default=False,
        description="allow plain http to and from the other site, where the link itself is private",
    )
    lease_seconds: float = Field(
        default=15, ge=1, le=300, description="how long the witness's permission to take writes is valid"
    )
    poll_seconds: float = Field(default=1, gt=0, le=60, description="how often the standby asks for changes")
    timeout_seconds: float = Field(
        default=5, gt=0, le=60, description="a site that is silent for this long counts as away"
    )
    switch_seconds: float = Field(default=60, gt=0, description="how long a planned switch may take")
    keep_hours: int = Field(
        default=168, ge=1, description="how long changes are kept for a peer that is away"
    )
    metadata: Literal["followed", "external"] = Field(
        default="followed",
        description="followed: Seawall copies the changes; external: the database and storage replicate "
        "themselves",
    )

    @field_validator("peer", "witness")
    @classmethod
    def _absolute_url(cls, value: str | None) -> str | None:
        return _checked_url(value).rstrip("/") if value else None

    @model_validator(mode="after")
    def _complete(self) -> DrSettings:
        if self.site and self.peer is None:
            raise ValueError("peer is missing: the other site's URL")
        if not self.site and self.peer:
            raise ValueError("site is missing: this site's name")
        if self.peer and not self.allow_http and not _is_private(self.peer):
            raise ValueError("peer must be https: hashes of passwords travel there (or set allow_http)")
        return self


class Limits(_Section):
    """Sizes above which input is refused (bytes)."""

    manifest_bytes: int = Field(default=4 * MIB, ge=1024, description="larger manifests are refused with 413")
    blob_bytes: int = Field(default=0, ge=0, description="larger blobs are refused with 413; 0: no limit")


class RateSettings(_Section):
    """Requests that one client may make; a rate of 0 means no limit.

    The defaults are for floods. The busiest honest address is that of a cluster behind one NAT: an image of
    20 layers is some 25 requests, so 2,000 nodes may pull one at the same moment, and 2,400 more each minute.
    """

    per_address: float = Field(
        default=1000, ge=0, le=1e6, description="requests per second from one address; 0: no limit"
    )
    address_burst: int = Field(
        default=50_000, ge=1, description="requests that one address may send at once after a pause"
    )
    per_user: float = Field(
        default=2000, ge=0, le=1e6, description="requests per second of one user or robot; 0: no limit"
    )
    user_burst: int = Field(
        default=100_000, ge=1, description="requests that one user or robot may send at once after a pause"
    )
    exempt: _Networks = Field(
        default=["127.0.0.0/8", "::1/128"], description="networks of clients without a rate limit"
    )


class ScanSettings(_Section):
    """The embedded scanner: bounds on what is read from one layer, and its adapter endpoint."""

    layer_gib: int = Field(default=64, ge=1, description="most GiB that a layer may unpack to")
    layer_ratio: int = Field(default=200, ge=2, description="a layer may unpack to this many times its size")
    layer_seconds: int = Field(default=900, ge=1, description="most time that reading a layer may take")
    memory_mib: int = Field(
        default=3072, ge=512, description="most memory (MiB) of the process that reads layers"
    )
    attached_sboms: Literal["never", "fallback", "prefer"] = Field(
        default="never",
        description="when an attached SBOM is the list of packages: never; fallback: where layers cannot "
        "be read; prefer: wherever there is one",
    )
    adapter_token: str | None = Field(
        default=None,
        min_length=16,
        repr=False,
        description="credential with which another Harbor may use this scanner; without it, none may",
    )
    internal_networks: _Networks = Field(
        default=[],
        description="private networks to which a registry may redirect the scanner",
    )


class GcSettings(_Section):
    """Online garbage collection."""

    grace_minutes: int = Field(
        default=120, ge=0, description="garbage collection keeps what is younger than this"
    )
    upload_hours: int = Field(
        default=48, ge=1, description="an upload session that nobody uses for this long is removed"
    )
    delete_untagged: bool = Field(default=False, description="also collect manifests without a tag")
    schedule: str = Field(
        default="0 15 3 * * *",
        description="cron (UTC, five fields, or six with seconds first), until somebody changes it over "
        "the API; empty: never",
    )

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str) -> str:
        return _checked_cron(value)


class ScrubSettings(_Section):
    """Proving in the background that storage still has the bytes of every blob."""

    schedule: str = Field(
        default="0 45 3 * * *",
        description="cron (UTC, five fields, or six with seconds first); empty: never",
    )
    minutes: int = Field(
        default=60, ge=1, description="a run ends after this time; the next run goes on where it ended"
    )
    megabytes_per_second: int = Field(
        default=20, ge=0, description="how fast blobs are read; 0: as fast as possible"
    )

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str) -> str:
        return _checked_cron(value)


def _checked_cron(value: str) -> str:
    if value.strip() and len(value.split()) not in (5, 6):
        raise ValueError(f"cron {value!r}: must have five fields (minutes first), or six (seconds first)")
    if not value.strip():
        return ""
    try:
        return checked(six_fields(value))
    except InvalidError as error:
        raise ValueError(str(error)) from None


class JobSettings(_Section):
    """Background jobs."""

    embedded: bool = Field(default=True, description="seawall serve also runs a job runner")
    slots: int = Field(default=10, ge=1, le=200, description="jobs that a runner works on at the same time")
    drain_seconds: int = Field(
        default=20,
        ge=0,
        description="time that running jobs get to finish after SIGTERM; then another runner takes them",
    )
    keep_days: int = Field(default=30, ge=1, description="how long ended jobs and their logs are kept")
    health_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="port at which seawall jobservice answers /healthz, /readyz and /metrics; without it, "
        "it does not",
    )


class ProxySettings(_Section):
    """Proxy-cache projects."""

    fresh_seconds: int = Field(
        default=10, ge=0, description="how long a tag is served without asking the upstream again"
    )
    wait_seconds: float = Field(
        default=3,
        gt=0,
        le=30,
        description="how long a client waits for an upstream before it gets the copy that is here",
    )
    keep_days: int = Field(
        default=7,
        ge=0,
        description="artifacts that nobody pulls for this long are deleted; 0: they are kept for ever",
    )


_HOST_NAME = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"


class MirrorSettings(_Section):
    """This registry as the mirror of others, for clients whose paths name no project of it."""

    namespaces: dict[str, str] = Field(
        default={},
        description="for each registry that a client names (docker.io), the proxy-cache project that "
        "answers; others get the oldest proxy-cache project of that registry",
    )
    hosts: dict[str, str] = Field(
        default={},
        description="for each host, host:port or :port, the project that requests there mean; their paths "
        "do not name it",
    )
    paths: list[str] = Field(
        default=[],
        description="other projects that a path may name, although the client names a registry",
    )

    @field_validator("namespaces", "hosts", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        # A port without a colon is a number in YAML.
        return {str(key): item for key, item in value.items()} if isinstance(value, dict) else value

    @field_validator("namespaces")
    @classmethod
    def _registries(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(rf"{_HOST_NAME}(:\d{{1,5}})?", name):
                raise ValueError(f"{name}: must be a registry's host, or host:port, in lower case")
        return _projects_of(value)

    @field_validator("hosts")
    @classmethod
    def _aliases(cls, value: dict[str, str]) -> dict[str, str]:
        found = {f":{name}" if name.isdigit() else name: project for name, project in value.items()}
        for name in found:
            match = re.fullmatch(rf"{_HOST_NAME}|({_HOST_NAME})?:(?P<port>\d{{1,5}})", name)
            if match is None or not 0 < int(match["port"] or 1) < 65536:
                raise ValueError(f"{name}: must be host, host:port or :port, in lower case")
        return _projects_of(found)

    @field_validator("paths")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        _projects_of({name: name for name in value})
        return value


def _projects_of(value: dict[str, str]) -> dict[str, str]:
    for name, project in value.items():
        if not is_project_name(project):
            raise ValueError(f"{name}: {project!r} is not a name of a project")
    return value


class WebhookSettings(_Section):
    """Webhooks: where they may go, and how long an answer may take."""

    allow_networks: _Networks = Field(
        default=[],
        description="private networks that webhooks may reach (10.1.0.0/16); other private, loopback and "
        "link-local addresses are refused",
    )
    timeout_seconds: float = Field(
        default=10, gt=0, le=120, description="how long a receiver may take to answer"
    )


class MetricsSettings(_Section):
    """What `/metrics` shows."""

    token: str | None = Field(
        default=None,
        min_length=8,
        repr=False,
        description="bearer token that a request for /metrics must show; without it, none",
    )
    cluster_seconds: float = Field(
        default=30,
        ge=1,
        le=3600,
        description="how often the figures of the whole cluster are computed, by one instance",
    )
    projects: int = Field(
        default=1000,
        ge=0,
        le=100_000,
        description="number of projects that have figures of their own, those that store most; 0: none",
    )


class TraceSettings(_Section):
    """Traces by OpenTelemetry, sent over OTLP/HTTP."""

    enabled: bool = Field(default=False, description="record traces and send them to a collector")
    endpoint: str | None = Field(
        default=None,
        description="URL of a collector that takes OTLP over HTTP, such as http://collector:4318; "
        "/v1/traces is added where it has no path",
    )
    headers: dict[str, str] = Field(
        default={}, repr=False, description="headers to send to the collector, such as Authorization"
    )
    sample_rate: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the traces that begin here and are recorded, from 0 to 1",
    )
    follow: bool = Field(
        default=True,
        description="continue the trace of a request's traceparent, and record it when that says so; "
        "false: each request begins a trace of its own",
    )
    namespace: str | None = Field(default=None, description="service.namespace of all spans")
    attributes: dict[str, str] = Field(default={}, description="attributes of all spans (of their resource)")
    compression: bool = Field(default=True, description="compress with gzip")
    timeout_seconds: float = Field(default=10, gt=0, le=300, description="how long to wait for the collector")
    queue: int = Field(
        default=4096,
        ge=512,
        le=1_000_000,
        description="most spans that wait in a process; further ones are dropped",
    )

    @field_validator("endpoint")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good:
            raise ValueError("must be a URL of http or https, such as http://collector:4318")
        if parts.username or parts.password:
            raise ValueError("has a user in it; give Authorization in trace.headers instead")
        return value

    @model_validator(mode="after")
    def _somewhere(self) -> TraceSettings:
        if self.enabled and not self.endpoint:
            raise ValueError("enabled needs endpoint")
        for name, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or re.search(r"[^ -~]", value):
                raise ValueError(f"headers: {name[:40]!r} is not a header")
        return self

    def url(self) -> str:
        """Where spans are sent."""
        url = self.endpoint or ""
        return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/v1/traces"


class GdprSettings(_Section):
    """What goes with a user who is removed (Harbor's GDPR_AUDIT_LOGS and GDPR_DELETE_USER)."""

    audit_logs: bool = Field(
        default=False, description="when a user is deleted, a pseudonym replaces the name in the audit log"
    )
    delete_user: bool = Field(
        default=False,
        description="when a user is deleted, the pseudonym also replaces the name in webhook policies, "
        "runs of retention and exports",
    )


class LogSettings(_Section):
    """Log output."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )
    format: Literal["json", "console"] = Field(
        default="json", description="json for programs, console for people"
    )
    access: bool = Field(default=True, description="log each request")
    access_sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the successful reads (GET, HEAD) that is logged, from 0 to 1; everything "
        "else is always logged",
    )


class Settings(BaseSettings):
    """All settings of one Seawall instance."""

    model_config = SettingsConfigDict(
        env_prefix="SEAWALL_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data_dir: Path = Field(
        default=Path("data"), description="folder where a Seawall without other services keeps everything"
    )
    external_url: str | None = Field(
        default=None,
        description="address that clients use; it is in Location headers, redirects and token realms",
    )
    ca_download: Path | None = Field(
        default=None,
        description="the balancer's CA, for clients to download: a file, or a folder of *.crt (default: "
        "ca_download in data_dir)",
    )
    ca_bundle: Path | None = Field(
        default=None,
        description="certificate authorities to trust in addition to the public ones: a PEM file or a "
        "folder of *.crt and *.pem",
    )
    configuration: dict[str, bool | int | str] = Field(
        default={},
        repr=False,
        description="items of Harbor's configuration that are fixed here; they override the database",
    )
    admin_password: str | None = Field(
        default=None,
        repr=False,
        description="password of admin at the very first start; without it, Seawall makes a random one and "
        "prints it once",
    )
    master_key: str | None = Field(
        default=None,
        repr=False,
        description="master key, which encrypts the keys in the database: 32 bytes, raw or base64",
    )
    master_key_file: Path | None = Field(default=None, description="file of the master key")
    other_master_key_file: Path | None = Field(
        default=None,
        description="file of the next or the last master key; while you replace the master key, both open "
        "the keys",
    )
    keys: KeysSettings = KeysSettings()
    redis: RedisSettings = RedisSettings()
    ha: HaSettings = HaSettings()
    peers: PeerSettings = PeerSettings()
    dr: DrSettings = DrSettings()
    http: Http = Http()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    auth: AuthSettings = AuthSettings()
    limits: Limits = Limits()
    rate: RateSettings = RateSettings()
    gc: GcSettings = GcSettings()
    scrub: ScrubSettings = ScrubSettings()
    scan: ScanSettings = ScanSettings()
    jobs: JobSettings = JobSettings()
    proxy: ProxySettings = ProxySettings()
    mirror: MirrorSettings = MirrorSettings()
    webhooks: WebhookSettings = WebhookSettings()
    metrics: MetricsSettings = MetricsSettings()
    trace: TraceSettings = TraceSettings()
    gdpr: GdprSettings = GdprSettings()
    log: LogSettings = LogSettings()

    @field_validator("*")
    @classmethod
    def _whole_paths(cls, value: object) -> object:
        return _whole_path(value)

    @field_validator("external_url")
    @classmethod
    def _absolute_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        _checked_url(value)
        if "@" in value:
            raise ValueError("has a user in it; clients are asked for theirs")
        if value.partition("://")[2].rstrip("/").count("/"):
            raise ValueError("must end with the host or its port, because clients ask for /v2/ there")
        return value.rstrip("/")

    @field_validator("data_dir", mode="before")
    @classmethod
    def _named_folder(cls, value: object) -> object:
        # The working directory, to programs: nobody means that who leaves a variable empty.
        if value == "":
            raise ValueError("is empty; name a folder")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags come as init arguments; environment and file are read by `seawall.infra.loading`."""
        return init_settings, *(_Given(settings_cls, values) for values in _sources.get())

    @model_validator(mode="after")
    def _one_scheme(self) -> Settings:
        if self.dr.site and self.peers.urls:
            raise ValueError("dr.site and peers.urls exclude each other; set one of them")
        return self

    @model_validator(mode="after")
    def _files_to_send(self) -> Settings:
        if self.http.accelerate and self.storage.driver != "filesystem":
            raise ValueError(
                "http.accelerate needs storage.driver filesystem; see storage.redirect for object storage"
            )
        return self

    @property
    def database_url(self) -> str:
        """The database URL with the embedded default filled in."""
        if self.database.url:
            return self.database.connection_url()
        return f"sqlite:///{self.data_dir.absolute() / 'seawall.db'}"

    @property
    def storage_root(self) -> Path:
        """Directory of the filesystem storage driver."""
        return (self.storage.root or self.data_dir / "blobs").absolute()


def redacted(section: BaseModel) -> dict[str, Any]:
    """The settings as JSON-able values with every secret (`repr=False`) shown as "(set)" or null."""
    shown = section.model_dump(mode="json")
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            shown[name] = redacted(value)
        elif not info.repr and value:
            shown[name] = "(set)"
    return shown


class _Given(PydanticBaseSettingsSource):
    """Values that `use_sources` has set: of the environment, or of the file."""

    def __init__(self, settings: type[BaseSettings], values: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._values)


_sources: ContextVar[tuple[Mapping[str, Any], ...]] = ContextVar("sources", default=())


@contextlib.contextmanager
def use_sources(*sources: Mapping[str, Any]) -> Iterator[None]:
    """Settings made in this block take what they are not given from `sources`, the first one strongest."""
    token = _sources.set(sources)
    try:
        yield
    finally:
        _sources.reset(token)
