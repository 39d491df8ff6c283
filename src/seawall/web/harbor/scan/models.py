"""What the routes of scanning share."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import unquote

from fastapi import Path
from pydantic import BaseModel

ARTIFACT = "/projects/{project_name}/repositories/{repository_name:path}/artifacts/{reference}"
RepositoryName = Annotated[str, Path(max_length=512)]
Reference = Annotated[str, Path(max_length=200)]


def full_name(project: str, repository: str) -> str:
    """A repository's full name; clients encode its slashes once more than the path needs."""
    return f"{project}/{unquote(repository)}"


class ScanType(BaseModel):
    """What a scan is to make."""

    scan_type: Literal["vulnerability", "sbom"] = "vulnerability"
