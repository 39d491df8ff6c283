"""A client of any OCI registry: the verbs of OCI Distribution 1.1, with streamed blobs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from seawall.features.replication.limiter import Limiter
from seawall.features.replication.login import Credentials
from seawall.features.replication.origin import HEADER
from seawall.features.replication.remote import RemoteError, RemoteManifest, document_of, refused, unreached
from seawall.features.replication.session import FAILURES, Patience, Session
from seawall.features.replication.uploads import Uploads, path_of, pull_scope, push_scope
from seawall.infra.addresses import Network
from seawall.infra.outgoing import LIMIT
from seawall.kernel.errors import SeawallError
from seawall.registry import manifest as manifests

ACCEPT = ", ".join(sorted(manifests.SUPPORTED))
MANIFEST_LIMIT = 16 * 1024 * 1024
# A list of names is read to so many pages and bytes; one with more is taken for endless.
_PAGES = 100_000
# What all pages of a list have together.
_LISTED_BYTES = 64 * 1024 * 1024
_REFERRERS_BYTES = 16 * 1024 * 1024


class RegistryClient:
    """One registry. Every method may raise RemoteError."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        insecure: bool = False,
        ca_certificate: str | None = None,
        limiter: Limiter | None = None,
        single_post: bool = False,
        stay: bool = False,
        patience: Patience | None = None,
        token_origin: str | None = None,
        allow: tuple[Network, ...] = (),
    ) -> None:
        """`single_post`: see `Uploads`; `token_origin`: see `Login`; `stay`, `allow`: see `Session`."""
        self.session = Session(
            url,
            credentials or Credentials(),
            insecure=insecure,
            ca_certificate=ca_certificate,
            patience=patience or Patience(),
            token_origin=token_origin,
            allow=allow,
            stay=stay,
        )
        self._limiter = limiter or Limiter()
        self.put_blob = Uploads(self.session, self._limiter, single_post=single_post).put

    async def close(self) -> None:
        """Close connections."""
        await self.session.close()

    async def ping(self) -> None:
        """Raise RemoteError unless the registry answers and takes the credentials."""
        await self.session.check()

    async def catalog(self) -> AsyncIterator[str]:
        """Every repository name."""
        async for name in self._pages("/v2/_catalog?n=1000", "registry:catalog:*", "repositories"):
            yield name

    async def tags(self, repository: str) -> list[str]:
        """The tags of a repository; none when it does not exist."""
        path = f"/v2/{path_of(repository)}/tags/list?n=1000"
        try:
            return [tag async for tag in self._pages(path, pull_scope(repository), "tags")]
        except RemoteError as error:
            if error.status == 404:
                return []
            raise

    async def _pages(self, path: str, scope: str, key: str) -> AsyncIterator[str]:
        seen: set[str] = set()
        left = _LISTED_BYTES
        asked: set[str] = set()
        while True:
            asked.add(path)
            response = await self.session.request("GET", path, scope)
            left -= len(response.content)
            if left < 0 or len(asked) > _PAGES:
                raise RemoteError(f"{self.session.url}: the list has no end", content=True)
            try:
                items = document_of(response).get(key) or []
            except (ValueError, AttributeError):
                raise RemoteError(
                    f"{self.session.url}{path}: the answer is not understood", content=True
                ) from None
            # What is not a name cannot be asked for, nor shown.
            named = (item for item in items if isinstance(item, str) and item.isascii())
            new = dict.fromkeys(name for name in named if name.isprintable() and name not in seen)
            for name in new:
                yield name
            seen.update(new)
            following = _next_page(response, self.session.url + path)
            # A Link that leads back to what has been seen would lead there for ever.
            if following is None or not new:
                return
            if following in asked:
                raise RemoteError(
                    f"{self.session.url}: the pages of the list go round in a circle", content=True
                )
            path = following

    async def head_manifest(self, repository: str, reference: str) -> str | None:
        """The digest a tag or digest stands for, None when it is unknown."""
        response = await self.session.request(
            "HEAD",
            f"/v2/{path_of(repository)}/manifests/{reference}",
            pull_scope(repository),
            accept=frozenset({200, 404}),
            headers={"Accept": ACCEPT},
        )
        if response.status_code == 404:
            return None
        digest = response.headers.get("docker-content-digest")
        if digest is None:
            found = await self.manifest(repository, reference)
            return found.digest if found else None
        return str(digest)

    async def manifest(self, repository: str, reference: str) -> RemoteManifest | None:
        """A manifest, None when it is unknown; its bytes are checked against the digest."""
        response = await self.session.request(
            "GET",
            f"/v2/{path_of(repository)}/manifests/{reference}",
            pull_scope(repository),
            accept=frozenset({200, 404}),
            headers={"Accept": ACCEPT},
            follow=True,
        )
        if response.status_code == 404:
            return None
        payload = response.content
        if len(payload) > MANIFEST_LIMIT:
            raise RemoteError(f"{repository}@{reference}: the manifest is too large", content=True)
        digest = reference if ":" in reference else response.headers.get("docker-content-digest", "")
        algorithm = digest.partition(":")[0]
        if algorithm not in ("sha256", "sha512"):
            algorithm, digest = "sha256", ""
        actual = f"{algorithm}:{hashlib.new(algorithm, payload).hexdigest()}"
        if digest and digest != actual:
            raise RemoteError(
                f"{repository}@{reference}: the content does not match its digest", content=True
            )
        media_type = manifests.type_of(payload, response.headers.get("content-type", ""))
        return RemoteManifest(actual, media_type, payload)

    async def put_manifest(
        self, repository: str, reference: str, media_type: str, payload: bytes, origin: str = ""
    ) -> None:
        """Store a manifest under a tag or digest; `origin` is the header of `replication.origin`."""
        await self.session.request(
            "PUT",
            f"/v2/{path_of(repository)}/manifests/{reference}",
            push_scope(repository),
            accept=frozenset({200, 201, 202}),
            headers={"Content-Type": media_type, **({HEADER: origin} if origin else {})},
            content=payload,
        )

    async def delete_manifest(self, repository: str, reference: str, origin: str = "") -> bool:
        """Delete a manifest (by digest) or, where the registry can, a tag; False when it is unknown."""
        response = await self.session.request(
            "DELETE",
            f"/v2/{path_of(repository)}/manifests/{reference}",
            f"repository:{repository}:pull,push,delete",
            accept=frozenset({200, 202, 404}),
            headers={HEADER: origin} if origin else None,
        )
        return response.status_code != 404

    async def referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """Descriptors of what refers to `digest`; by the referrers API, or the tag that stands in for it."""
        path = f"/v2/{path_of(repository)}/referrers/{digest}"
        found: dict[str, dict[str, Any]] = {}
        asked = {path}
        left = _REFERRERS_BYTES
        while True:
            response = await self.session.request(
                "GET", path, pull_scope(repository), accept=frozenset({200, 400, 404, 405}), follow=True
            )
            if response.status_code != 200:
                break
            left -= len(response.content)
            page = {item["digest"]: item for item in _descriptors(response.content)}
            new = page.keys() - found.keys()
            found.update(page)
            following = _next_page(response, self.session.url + path)
            if following is None or not new:
                return list(found.values())
            if following in asked or len(asked) > _PAGES or left < 0:
                raise RemoteError(f"{self.session.url}: the list has no end", content=True)
            asked.add(following)
            path = following
        # Distribution 1.1, "Referrers Tag Schema".
        fallback = await self.manifest(repository, digest.replace(":", "-", 1)[:128])
        if fallback is None or fallback.media_type != manifests.OCI_INDEX:
            return []
        return _descriptors(fallback.payload)

    async def referrer_digests(self, repository: str, digest: str) -> list[str]:
        """The digests of `referrers`."""
        return [item["digest"] for item in await self.referrers(repository, digest)]

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository has a blob."""
        response = await self.session.request(
            "HEAD",
            f"/v2/{path_of(repository)}/blobs/{digest}",
            pull_scope(repository),
            accept=frozenset({200, 307, 302, 404}),
        )
        return response.status_code != 404

    async def blob(self, repository: str, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """A blob's bytes from `offset` on; the receiver checks them against the digest."""
        url = f"{self.session.url}/v2/{path_of(repository)}/blobs/{digest}"
        headers = {"Accept-Encoding": "identity", **await self.session.login.headers(pull_scope(repository))}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            for attempt in (1, 2):
                async with self.session.http.stream(
                    "GET", url, headers=headers, follow_redirects=True, extensions={LIMIT: None}
                ) as response:
                    if response.status_code == 401 and attempt == 1:
                        if not self.session.login.learn(response, pull_scope(repository)):
                            raise refused("GET", url, response)
                        headers.update(await self.session.login.headers(pull_scope(repository)))
                        continue
                    if response.status_code not in (200, 206):
                        await _read_refusal(response)
                        raise refused("GET", url, response)
                    skip = offset if response.status_code == 200 else 0
                    async for data in response.aiter_raw():
                        if skip:
                            cut = min(skip, len(data))
                            skip -= cut
                            data = data[cut:]
                        if data:
                            await self._limiter.take(len(data))
                            yield data
                    return
        except FAILURES as error:
            raise unreached(self.session.url, error) from None

    async def open_blob(self, repository: str, digest: str) -> tuple[int, AsyncGenerator[bytes, None]] | None:
        """A blob's size and bytes, None when it is unknown; close (`aclose`) what is not read to its end."""
        url = f"{self.session.url}/v2/{path_of(repository)}/blobs/{digest}"
        for attempt in (1, 2):
            headers = {
                "Accept-Encoding": "identity",
                **await self.session.login.headers(pull_scope(repository)),
            }
            try:
                request = self.session.http.build_request("GET", url, headers=headers)
                response = await self.session.http.send(request, stream=True, follow_redirects=True)
                if response.status_code == 200:
                    break
                await _read_refusal(response)
            except FAILURES as error:
                raise unreached(self.session.url, error) from None
            if (
                response.status_code == 401
                and attempt == 1
                and self.session.login.learn(response, pull_scope(repository))
            ):
                continue
            if response.status_code == 404:
                return None
            raise refused("GET", url, response)
        length = response.headers.get("content-length", "") or await self._length(repository, digest)
        if not length.isdigit():
            await response.aclose()
            raise RemoteError(f"{self.session.url}: a blob came without Content-Length", content=True)

        async def parts() -> AsyncGenerator[bytes, None]:
            try:
                async for data in response.aiter_raw(256 * 1024):
                    await self._limiter.take(len(data))
                    yield data
            except FAILURES as error:
                raise unreached(self.session.url, error) from None
            finally:
                await response.aclose()

        return int(length), parts()

    async def _length(self, repository: str, digest: str) -> str:
        """A blob's Content-Length where GET has none, as behind a proxy that sends in chunks; or ""."""
        try:
            response = await self.session.request(
                "HEAD", f"/v2/{path_of(repository)}/blobs/{digest}", pull_scope(repository), follow=True
            )
        except RemoteError:
            return ""
        return str(response.headers.get("content-length", ""))


def _next_page(response: httpx.Response, url: str) -> str | None:
    link = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', response.headers.get("link", ""))
    if link is None:
        return None
    # The host in a Link is the registry's own idea of its name; only path and query count. A path that does
    # not begin with a slash (of `x:@elsewhere`) would make another host of the registry's address.
    try:
        target = urlsplit(urljoin(url, link[1]))
    except ValueError:
        return None
    if not target.path.startswith("/"):
        return None
    return str(target.path) + (f"?{target.query}" if target.query else "")


async def _read_refusal(response: httpx.Response) -> None:
    """Read what is said with a refusal; where that is long, the answer is ended instead."""
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) <= 65536:
        await response.aread()
    else:
        await response.aclose()


def _descriptors(payload: bytes) -> list[dict[str, Any]]:
    """The descriptors of an index, with the fields that a list of referrers has; none of other content."""
    try:
        named = set(manifests.parse(payload, manifests.OCI_INDEX).manifests)
        items = json.loads(payload)["manifests"]
    except (SeawallError, ValueError, KeyError):
        return []
    fields = ("mediaType", "digest", "size", "artifactType", "annotations")
    return [
        {name: item[name] for name in fields if item.get(name)} for item in items if item["digest"] in named
    ]
