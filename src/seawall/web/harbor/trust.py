"""Keys and certificates that a project trusts, and the verdict on an artifact's signatures. Not Harbor's."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Request, Response
from pydantic import BaseModel, Field

from seawall.features.trust.service import TrustedKey as Key
from seawall.web.harbor.artifacts.models import ARTIFACT, Reference, find
from seawall.web.harbor.deps import Access, Id, location, named_project_access, project_access, timestamp
from seawall.web.harbor.needs import Artifacts, Trust
from seawall.web.harbor.repositories import RepositoryName
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["trust"])


class Identity(BaseModel):
    """A signer by what is in the certificate: a name ("*" for any text) and who vouched for it (Fulcio)."""

    subject: str = Field(default="*", min_length=1, max_length=512)
    issuer: str = Field(default="", max_length=512)


class TrustedKey(BaseModel):
    """A public key or certificate in PEM; `fingerprint` is SHA-256 in hex.

    `kind`: key and certificate sign; timestamp and log say when a signature was made.
    """

    id: int
    name: str
    kind: str
    pem: str
    fingerprint: str
    creation_time: str | None
    identities: list[Identity] = []


class TrustedKeyReq(BaseModel):
    """A key or certificate to be trusted."""

    name: str = Field(min_length=1, max_length=255)
    pem: str = Field(max_length=65536)
    usage: Literal["signer", "timestamp", "log"] = "signer"
    identities: list[Identity] = Field(default=[], max_length=100)


class SignatureVerdict(BaseModel):
    """One signature or attestation: the accessory it is in, and by which trusted key, or why by none.

    `time` is when it was made, where a trusted timestamp authority or log, `witness`, says so.
    """

    accessory_digest: str
    type: str
    valid: bool
    signer: str | None = None
    reason: str | None = None
    predicate_type: str | None = None
    time: str | None = None
    witness: str | None = None


def _model(key: Key) -> TrustedKey:
    return TrustedKey(
        id=key.id,
        name=key.name,
        kind=key.kind,
        pem=key.pem,
        fingerprint=key.fingerprint,
        creation_time=timestamp(key.created_at),
        identities=[Identity(issuer=issuer, subject=subject) for issuer, subject in key.identities],
    )


@router.get("/projects/{project_name_or_id}/trustedkeys")
async def list_trusted_keys(
    access: Annotated[Access, project_access("metadata", "read")],
    trust: Trust,
) -> list[TrustedKey]:
    """What the project trusts, by name."""
    return [_model(key) for key in await trust.keys(access.project.id)]


@router.post("/projects/{project_name_or_id}/trustedkeys", status_code=201)
async def create_trusted_key(
    request: Request,
    body: TrustedKeyReq,
    access: Annotated[Access, project_access("metadata", "create")],
    trust: Trust,
) -> Response:
    """Trust a key or certificate; 400 when it is neither, 409 when it or its name is there already."""
    identities = [(item.issuer, item.subject) for item in body.identities]
    key = await trust.add_key(
        access.project.id, body.name, body.pem, body.usage, identities, also=access.trace
    )
    access.audited("create", "trusted_key", key.name, f"trust {key.kind} {key.name}", access.project.id)
    return Response(status_code=201, headers=location(request, key.id))


@router.delete("/projects/{project_name_or_id}/trustedkeys/{key_id}")
async def delete_trusted_key(
    key_id: Id, access: Annotated[Access, project_access("metadata", "delete")], trust: Trust
) -> Response:
    """Stop trusting a key or certificate."""
    await trust.remove_key(access.project.id, key_id, also=access.trace)
    text = f"trust key {key_id} no longer"
    access.audited("delete", "trusted_key", str(key_id), text, access.project.id)
    return Response(status_code=200)


@router.get(ARTIFACT + "/signatures")
async def list_signatures(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact", "read")],
    artifact_service: Artifacts,
    trust: Trust,
) -> list[SignatureVerdict]:
    """Signatures and attestations of an artifact, verified against what its project trusts."""
    artifact = await find(access, artifact_service, repository_name, reference)
    found = await trust.verify(artifact.repository, artifact.digest)
    return [
        SignatureVerdict(
            accessory_digest=item.digest,
            type=item.type,
            valid=item.verdict.valid,
            signer=item.verdict.signer,
            reason=item.verdict.reason or None,
            predicate_type=item.verdict.predicate,
            time=timestamp(item.verdict.moment.at) if item.verdict.moment else None,
            witness=item.verdict.moment.witness if item.verdict.moment else None,
        )
        for item in found
    ]
