"""The XML API of Google Cloud Storage on loopback: moto's S3 behind Google's two ways to prove who asks.

Google documents its XML API as one that S3 clients can speak (paths, lists, multipart uploads); what it has
of its own is who may ask. Requests carry a JWT that the service account signed itself, or a V4 signature
(GOOG4-RSA-SHA256) in the query. Both are checked here with the account's public key, written from Google's
description ("V4 signing process"); what is asked is then answered by moto.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import make_server

from seawall.infra.settings import StorageSettings

_EMAIL = "seawall@project.iam.gserviceaccount.example"
# What moto wants to see; it checks no signature.
_S3 = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


class GcsServer:
    """One service account, whose key file is `keyfile`; `bucket()` makes a bucket."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self._public = RSAKey.import_key(pem)
        self._backend: Any = create_backend_app("s3")
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.refused: list[str] = []
        self.keyfile = Path(tempfile.mkdtemp(prefix="seawall-gcs-")) / "key.json"
        account = {
            "type": "service_account",
            "private_key": pem,
            "private_key_id": "1",
            "client_email": _EMAIL,
            "gcs_base_url": self.endpoint,
        }
        self.keyfile.write_text(json.dumps(account))

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self.keyfile.unlink()
        self.keyfile.parent.rmdir()

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = "b" + secrets.token_hex(6)
        token = jwt.encode({"alg": "RS256"}, {"iss": _EMAIL}, self._public)
        answer = httpx.put(f"{self.endpoint}/{name}", headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()
        return name

    def settings(self, bucket: str, prefix: str) -> StorageSettings:
        """Settings that name the bucket."""
        section = {"bucket": bucket, "keyfile": str(self.keyfile), "rootdirectory": prefix}
        return StorageSettings.model_validate({"driver": "gcs", "gcs": section, "redirect": True})

    def _app(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = environ["QUERY_STRING"]
        try:
            if "X-Goog-Signature" in query:
                self._signed(environ)
                environ["QUERY_STRING"] = ""
            else:
                scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
                if scheme != "Bearer" or jwt.decode(token, self._public).claims["iss"] != _EMAIL:
                    raise ValueError("no token of the account")
        except (JoseError, InvalidSignature, KeyError, ValueError) as error:
            self.refused.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}: {error!r}")
            start("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        environ["HTTP_AUTHORIZATION"] = _S3
        answer: Iterable[bytes] = self._backend(environ, start)
        return answer

    def _signed(self, environ: dict[str, Any]) -> None:
        given = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        signature = bytes.fromhex(given.pop("X-Goog-Signature"))
        account, _, scope = given["X-Goog-Credential"].partition("/")
        moment = datetime.datetime.strptime(given["X-Goog-Date"], "%Y%m%dT%H%M%SZ")
        ends = moment + datetime.timedelta(seconds=int(given["X-Goog-Expires"]))
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        if account != _EMAIL or given["X-Goog-SignedHeaders"] != "host" or now > ends:
            raise ValueError("not a signed URL of the account, or too old")
        canonical = [
            environ["REQUEST_METHOD"],
            quote(environ["PATH_INFO"], safe="/~"),
            "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(given.items())),
            # The client signs Google's own host, whatever address it was told to speak to.
            "host:storage.googleapis.com",
            "",
            "host",
            "UNSIGNED-PAYLOAD",
        ]
        digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        told = "\n".join(["GOOG4-RSA-SHA256", given["X-Goog-Date"], scope, digest])
        self._key.public_key().verify(signature, told.encode(), padding.PKCS1v15(), hashes.SHA256())
