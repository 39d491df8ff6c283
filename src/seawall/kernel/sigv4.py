"""AWS Signature Version 4. Source: AWS General Reference, "Signing AWS API requests"."""

from __future__ import annotations

import hashlib
import hmac


def sign_v4(
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    payload: bytes,
    region: str,
    service: str,
    key: str,
    secret: str,
) -> str:
    """The Authorization header of AWS Signature Version 4; `headers` (lower-case names) are all signed.

    `path` and `query` are in their canonical form.
    """
    names = sorted(headers)
    canonical = "\n".join(
        [
            method,
            path,
            query,
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(payload).hexdigest(),
        ]
    )
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing = b"AWS4" + secret.encode()
    for part in (moment[:8], region, service, "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    signature = hmac.digest(signing, text.encode(), "sha256").hex()
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
