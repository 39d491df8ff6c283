"""Configurations of load balancers, for `seawall ha lb-config`.

What they have in common: health by `/readyz`, uploads and downloads passed on as they come (no buffering in
files, no limit of size), another instance tried when one cannot be connected to, `X-Forwarded-*` set and
what clients sent of them dropped, `/metrics` and what peers say to each other kept inside. nginx can send the
files of blobs itself (`http.accelerate`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from seawall.kernel.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Balancer:
    """What a configuration is made from.

    `url`: the `external_url`. `instances`: URLs of the instances. `bind`: address and port to listen on (""
    takes all addresses and the URL's port). `certificate`, `key`: PEM files for an https URL (HAProxy wants
    both in the one file `certificate`). `ca`: PEM that signed the instances' certificates, if they have TLS.
    `sticky`: keep each client address at one instance, which installations that share nothing need.
    `peers`: the instances are peers. All requests of a repository go to one of them, so that an upload
    session stays where it began and what was pushed is pulled from where it is, also while they cannot reach
    one another; a client's other requests go to one instance by its address.
    `files`: the root of the filesystem storage as nginx sees it, to send blobs from ("": it sends none).
    """

    url: str
    instances: list[str]
    bind: str = ""
    certificate: str = "/etc/seawall/tls/balancer.pem"
    key: str = "/etc/seawall/tls/balancer.key"
    ca: str = ""
    sticky: bool = False
    peers: bool = False
    files: str = ""

    def targets(self) -> list[tuple[str, str]]:
        """(name, host:port) of each instance. Raises InvalidError for one that is not a URL."""
        found = []
        for number, url in enumerate(self.instances, 1):
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise InvalidError(f"{url} is not the URL of an instance (http://host:port)")
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            found.append((f"seawall{number}", f"{host}:{parts.port or _port(parts.scheme)}"))
        if not found:
            raise InvalidError("no instance is known: start one, or give --instance URL")
        if len({urlsplit(url).scheme for url in self.instances}) > 1:
            raise InvalidError("instances must be all http or all https")
        return found

    @property
    def inner_tls(self) -> bool:
        """Whether the instances speak TLS."""
        return any(urlsplit(url).scheme == "https" for url in self.instances)

    @property
    def outer_tls(self) -> bool:
        """Whether clients speak TLS to the balancer."""
        return urlsplit(self.url).scheme == "https"

    def listen(self, every: str) -> str:
        """Where to listen; `every` stands for all addresses."""
        if self.bind:
            return self.bind
        parts = urlsplit(self.url)
        return f"{every}{parts.port or _port(parts.scheme)}"


# Where the name of a repository ends in a path of the Distribution API.
_IN_REPOSITORY = "/(blobs|manifests|tags|referrers)/"
_NAMED = f"^/v2/.+{_IN_REPOSITORY}"
_PLACE = "X-Seawall-Place"


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def haproxy(balancer: Balancer) -> str:
    """A complete haproxy.cfg (HAProxy 2.4 or newer)."""
    # Consistent hashing also tries another instance at once when the client's own cannot be reached.
    balance = "    balance source\n    hash-type consistent" if balancer.sticky else "    balance leastconn"
    if balancer.peers and not balancer.sticky:
        balance = f"""    # A repository has an instance, and another one while that is away; so has a client.
    # `seawall ha check` asks until each instance has answered: without a place, one takes turns.
    http-request del-header {_PLACE}
    http-request set-header {_PLACE} %[src] unless {{ path_beg /_seawall/ }}
    http-request set-header {_PLACE} '%[path,regsub("{_IN_REPOSITORY}.*","")]' if {{ path_reg {_NAMED} }}
    balance hdr({_PLACE})
    hash-type consistent sdbm avalanche"""
    tls = f" ssl crt {balancer.certificate} alpn h2,http/1.1" if balancer.outer_tls else ""
    inner = ""
    if balancer.inner_tls:
        inner = f" ssl verify required ca-file {balancer.ca}" if balancer.ca else " ssl verify none"
    servers = "\n".join(f"    server {name} {target} check{inner}" for name, target in balancer.targets())
    redirect = ""
    if balancer.outer_tls and not balancer.bind and (urlsplit(balancer.url).port or 443) == 443:
        redirect = """
frontend plain
    bind :80
    http-request redirect scheme https code 308
"""
    return f"""# HAProxy in front of Seawall at {balancer.url}; made by `seawall ha lb-config haproxy`.
global
    log stdout format raw local0
    maxconn 8000
    # A pull that lacks 1,024 chunks of a layer names them all in one header (24 KiB).
    tune.bufsize 32768

defaults
    mode http
    log global
    option httplog
    option dontlognull
    maxconn 8000
    # An instance that cannot be reached: the next try, on another one, comes after two seconds.
    timeout connect 2s
    retries 3
    option redispatch 1
    # A client that gives up takes its request along, so that it leaves the line of pushes that wait.
    option abortonclose
    # Slow headers (Slowloris) end soon.
    timeout http-request 10s
    timeout http-keep-alive 75s
    timeout queue 30s
    timeout check 3s
    # Silence within a request: storing the last byte of a large blob may take a while.
    timeout client 15m
    timeout server 15m
    timeout tunnel 1h
{redirect}
frontend seawall
    bind {balancer.listen(":")}{tls}
    # One address cannot take all connections; the same for many is what maxconn is for.
    stick-table type ipv6 size 200k expire 2m store conn_cur
    tcp-request connection track-sc0 src
    tcp-request connection reject if {{ sc0_conn_cur gt 4000 }}
    # What clients claim about forwarding is dropped; instances believe this proxy (http.trusted_proxies).
    http-request del-header X-Forwarded-For
    http-request del-header Forwarded
    http-request del-header X-Seawall-Accelerate
    http-request set-header X-Forwarded-Proto {"https" if balancer.outer_tls else "http"}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    option forwardfor
    http-request deny deny_status 404 if {{ path /metrics }} or {{ path_beg /_seawall/peers }}
    default_backend instances

backend instances
{balance}
    # Bodies pass through as they come: HAProxy holds a few kilobytes and has no limit of size.
    # An instance that answers 404 here (it drains, or lost its database or storage) gets nothing new and may
    # finish what it has; one that does not answer is down.
    option httpchk GET /readyz?unready=404
    http-check disable-on-404
    http-check expect status 200
    # Requests without a body may be sent again to another instance when one fails before it answers; others
    # only while no connection was made.
    retry-on conn-failure empty-response 503
    http-request disable-l7-retry unless {{ method GET HEAD }}
    # What hangs on an instance that is down is cut, so that clients go on elsewhere. Keepalives find out
    # sooner when nothing is being sent.
    option srvtcpka
    srvtcpka-idle 3s
    srvtcpka-intvl 1s
    srvtcpka-cnt 3
    default-server inter 1s fastinter 500ms downinter 1s fall 2 rise 2 on-marked-down shutdown-sessions
{servers}
"""


def nginx(balancer: Balancer) -> str:
    """A file for nginx's `conf.d` (nginx 1.18 or newer)."""
    tls = ""
    listen = balancer.listen("")
    if balancer.outer_tls:
        tls = f"""
    ssl_certificate {balancer.certificate};
    ssl_certificate_key {balancer.key};
    ssl_protocols TLSv1.2 TLSv1.3;"""
        listen += " ssl http2"
    # nginx without its commercial part has no active health checks: a failed request is what tells it.
    servers = "\n".join(
        f"    server {target} max_fails=1 fail_timeout=5s;" for _, target in balancer.targets()
    )
    scheme = "https" if balancer.inner_tls else "http"
    verify = ""
    if balancer.inner_tls and balancer.ca:
        verify = f"""
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {balancer.ca};"""
    host = urlsplit(balancer.url).hostname
    files = _files(balancer.files, scheme) if balancer.files else ""
    accelerate = "nginx" if files else '""'
    balance, place = ("ip_hash" if balancer.sticky else "least_conn"), ""
    if balancer.peers and not balancer.sticky:
        balance = "hash $seawall_place consistent"
        place = f"""# A repository has an instance, and another one while that is away; so has a client.
map $uri $seawall_place {{
    default $remote_addr;
    # `seawall ha check` asks until each instance has answered.
    "~^/_seawall/" $request_id;
    "~^(?<seawall_repository>/v2/.+?){_IN_REPOSITORY}" $seawall_repository;
}}

"""
    return f"""# nginx in front of Seawall at {balancer.url}; made by `seawall ha lb-config nginx`.
{place}upstream seawall {{
    {balance};
{servers}
    keepalive 64;
}}

limit_conn_zone $binary_remote_addr zone=seawall_address:10m;

server {{
    listen {listen};
    server_name {host};{tls}

    # One address cannot take all connections, and who sends or takes nothing is let go.
    limit_conn seawall_address 4000;
    # A pull that lacks 1,024 chunks of a layer names them all in one header (24 KiB).
    large_client_header_buffers 4 32k;
    client_header_timeout 10s;
    client_body_timeout 60s;
    send_timeout 60s;
    keepalive_timeout 75s;
    reset_timedout_connection on;

    # Blobs have any size and pass through as they come.
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_max_temp_file_size 0;
    chunked_transfer_encoding on;

    location = /metrics {{
        return 404;
    }}

    location /_seawall/peers {{
        return 404;
    }}

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    # What clients claim about forwarding is replaced; instances believe this proxy.
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto {"https" if balancer.outer_tls else "http"};
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header Forwarded "";
    # Who may be answered with the name of a file: this proxy, and nobody by way of it.
    proxy_set_header X-Seawall-Accelerate $seawall_accelerate;{verify}
    # Another instance is tried when one cannot be reached, or says that it is not ready; a request whose
    # body was already passed on is not sent twice.
    proxy_next_upstream error timeout http_503;
    proxy_next_upstream_tries 3;
    proxy_connect_timeout 2s;
    proxy_read_timeout 900s;
    proxy_send_timeout 900s;

    location / {{
        set $seawall_accelerate {accelerate};
        proxy_pass {scheme}://seawall;
    }}
{files}}}
"""


def _files(root: str, scheme: str) -> str:
    """The locations from which nginx sends files. Raises InvalidError for a path that nginx would misread."""
    if not root.startswith("/") or re.search(r"""["'$\\{};\s]""", root):
        raise InvalidError(f"{root!r} must be an absolute path without spaces and quotes")
    root = root.rstrip("/")
    # Of an answer with X-Accel-Redirect nginx keeps few headers; the others are added again.
    kept = "\n".join(
        f"        add_header {name} $upstream_http_{name.lower().replace('-', '_')};" for name in _KEPT
    )
    return f"""
    # Files that an instance names after its checks (http.accelerate). No client can ask for them.
    location ~ ^/_seawall/files/(?<seawall_file>(blobs|docker/registry/v2/blobs)/[A-Za-z0-9._/-]+)$ {{
        internal;
        alias {root}/$seawall_file;
        sendfile on;
        tcp_nopush on;
        sendfile_max_chunk 2m;
        gzip off;
        etag off;
        if_modified_since off;
        add_header Last-Modified "";
        add_header Cache-Control max-age=31536000;
{kept}
        # What this proxy cannot read, the instance sends.
        error_page 403 404 500 = @seawall_plain;
    }}

    location @seawall_plain {{
        set $seawall_accelerate "";
        proxy_pass {scheme}://seawall$request_uri;
    }}
"""


def file_locations(root: str) -> str:
    """The part of `nginx` that sends files from `root`, for another configuration (the chart's).

    Its `upstream` must be called seawall, and `$seawall_accelerate` be nginx where it passes requests on.
    """
    return _files(root, "http")


_KEPT = (
    "Docker-Content-Digest",
    "Docker-Distribution-Api-Version",
    "ETag",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Request-Id",
)


KINDS = {"haproxy": haproxy, "nginx": nginx}
__all__ = ["KINDS", "Balancer", "file_locations", "haproxy", "nginx"]
