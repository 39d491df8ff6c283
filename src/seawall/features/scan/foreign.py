"""SBOMs that others made, read as package lists: CycloneDX 1.2 to 1.7 and SPDX 2.2 and 2.3, both JSON.

What is taken of a document is validated first: CycloneDX with the schemas of cyclonedx-python-lib, SPDX with
spdx-tools. Sources: both specifications, the purl specification; syft's and Trivy's purl qualifiers and
properties for source packages and module streams.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from seawall.features.scan.ecosystems import LANGUAGES
from seawall.features.scan.model import Distribution, Found, Inventory, Package, purl
from seawall.features.scan.parsers.base import clean
from seawall.kernel.errors import InvalidError
from seawall.kernel.extras import need, optional

if TYPE_CHECKING:
    import packageurl
else:
    packageurl = optional("packageurl")

CYCLONEDX_TYPES = ("application/vnd.cyclonedx+json", "application/vnd.cyclonedx")
SPDX_TYPES = ("application/spdx+json", "text/spdx+json", "application/spdx")
TYPES = (*CYCLONEDX_TYPES, *SPDX_TYPES)
# Predicate types of attestations that carry SBOMs; SPDX's may be followed by a version.
PREDICATES = ("https://cyclonedx.org/bom", "https://spdx.dev/Document", "cyclonedx", "spdx")
MAX_BYTES = 64 * 1024 * 1024
_DEPTH = 32
_BATCH = 100
_KINDS = {*LANGUAGES.values(), "deb", "apk", "rpm"}
_TRIVY = "aquasecurity:trivy:"


def read(data: bytes, limit: int = 500_000) -> Inventory:
    """The package list of an SBOM of at most `limit` packages. Raises InvalidError."""
    if len(data) > MAX_BYTES:
        raise InvalidError("the SBOM is too large")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidError("the SBOM is not JSON") from None
    return read_document(document, limit)


def read_document(document: Any, limit: int = 500_000) -> Inventory:
    """`read` of a decoded document."""
    if isinstance(document, dict) and document.get("bomFormat") == "CycloneDX":
        rows = list(_cyclonedx(document, limit))
    elif isinstance(document, dict) and str(document.get("spdxVersion", "")).startswith("SPDX-2"):
        rows = list(_spdx(document, limit))
    else:
        raise InvalidError("the SBOM is neither CycloneDX nor SPDX 2")
    system = next((row for row in rows if isinstance(row, Distribution)), None)
    if system is None:
        system = next(
            (d for row in rows if not isinstance(row, Distribution) and (d := row[1])), Distribution()
        )
    packages = []
    for row in rows:
        if not isinstance(row, Distribution):
            packages.append(Package(row[0], purl(row[0], system), (), ""))
    return Inventory(system, packages)


def statement(document: Any, subject: str) -> Any:
    """The SBOM that an in-toto statement makes about `subject` (a digest); None when about something else.

    cosign's older statements have the document as text below `Data`.
    """
    if not isinstance(document, dict):
        return None
    algorithm, _, value = subject.partition(":")
    subjects = document.get("subject")
    digests = [
        item["digest"].get(algorithm)
        for item in (subjects if isinstance(subjects, list) else [])
        if isinstance(item, dict) and isinstance(item.get("digest"), dict)
    ]
    if value not in digests or not str(document.get("predicateType", "")).startswith(PREDICATES):
        return None
    predicate = document.get("predicate")
    inner = predicate.get("Data") if isinstance(predicate, dict) else None
    if isinstance(inner, str):
        try:
            return json.loads(inner)
        except (ValueError, RecursionError):
            return None
    return inner if isinstance(inner, dict) else predicate


_Row = Distribution | tuple[Found, Distribution | None]


def _cyclonedx(document: dict[str, Any], limit: int) -> Iterator[_Row]:
    validate = _validator(str(document.get("specVersion", "")))
    head = {"bomFormat": "CycloneDX", "specVersion": document["specVersion"], "version": 1}
    flat = list(_components(document.get("components", []), 0))
    if len(flat) > limit:
        raise InvalidError(f"the SBOM has more than {limit} packages")
    taken = ("type", "name", "version", "group", "purl", "properties")
    for start in range(0, len(flat), _BATCH):
        # In pieces: the schema asks for unique items, which costs the square of their number.
        piece = [{key: item[key] for key in taken if key in item} for item in flat[start : start + _BATCH]]
        for item in piece:
            # Required up to 1.3, and filled with nothing by those who have none.
            item.setdefault("version", "")
        unique = {json.dumps(item, sort_keys=True): item for item in piece}
        error = validate(json.dumps({**head, "components": list(unique.values())}))
        if error is not None:
            raise InvalidError(f"the SBOM is not valid CycloneDX: {error}")
    for item in flat:
        if item["type"] == "operating-system":
            yield Distribution(clean(item["name"]).lower(), clean(item.get("version", "")))
            continue
        properties = {
            str(entry.get("name")): str(entry.get("value"))
            for entry in item.get("properties", [])
            if isinstance(entry, dict)
        }
        found = _found(item.get("purl"), properties)
        if found is not None:
            yield found


def _components(items: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEPTH:
        raise InvalidError("the SBOM is nested too deep")
    if not isinstance(items, list):
        raise InvalidError("the SBOM is not valid CycloneDX: its components are not a list")
    for item in items:
        if not isinstance(item, dict):
            raise InvalidError("the SBOM is not valid CycloneDX: a component is not an object")
        yield item
        if "components" in item:
            yield from _components(item["components"], depth + 1)


def _validator(version: str) -> Any:
    """A function of a document that gives what is wrong with it, or None. Raises InvalidError."""
    # Loaded when needed: schemas and their validator take a while.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonValidator

    if not re.fullmatch(r"1\.\d{1,2}", version):
        raise InvalidError("the SBOM names no version of CycloneDX")
    try:
        schema = SchemaVersion.from_version(version)
    except ValueError:
        raise InvalidError(f"CycloneDX {version} is not known") from None
    if schema < SchemaVersion.V1_2:
        raise InvalidError(f"CycloneDX {version} has no JSON")
    validator = _cached(JsonValidator, schema)

    def check(text: str) -> str | None:
        error: Any = validator.validate_str(text)
        if error is None:
            return None
        place = "/".join(str(part) for part in error.data.absolute_path)
        return f"{place}: {error.data.message}"[:300]

    return check


@functools.cache
def _cached(make: Any, schema: Any) -> Any:
    return make(schema)


_SPDX_PACKAGE = (
    "SPDXID",
    "name",
    "versionInfo",
    "downloadLocation",
    "filesAnalyzed",
    "primaryPackagePurpose",
)


def _spdx(document: dict[str, Any], limit: int) -> Iterator[_Row]:
    need("spdx", "an SBOM in SPDX")
    from spdx_tools.spdx.parser import error as spdx_errors
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser

    listed = document.get("packages", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise InvalidError("the SBOM is not valid SPDX: its packages are not a list of objects")
    if len(listed) > limit:
        raise InvalidError(f"the SBOM has more than {limit} packages")
    heads = ("spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo")
    packages = []
    for item in listed:
        # Only what is used: licence texts of packages are often none of SPDX's expressions.
        kept = {key: item[key] for key in _SPDX_PACKAGE if key in item}
        refs = item.get("externalRefs", [])
        kept["externalRefs"] = [ref for ref in refs if _is_purl(ref)] if isinstance(refs, list) else refs
        packages.append(kept)
    parser: Any = JsonLikeDictParser
    try:
        parsed = parser().parse(
            {**{key: document[key] for key in heads if key in document}, "packages": packages}
        )
    except spdx_errors.SPDXParsingError as error:
        raise InvalidError(f"the SBOM is not valid SPDX: {'; '.join(error.messages)[:300]}") from None
    except Exception as error:
        # The parser trusts the kinds of values inside what it reads.
        raise InvalidError(f"the SBOM is not valid SPDX: {type(error).__name__}") from None
    for package in parsed.packages:
        purpose = package.primary_package_purpose
        if purpose is not None and purpose.name == "OPERATING_SYSTEM":
            yield Distribution(clean(package.name).lower(), clean(str(package.version or "")))
            continue
        for reference in package.external_references:
            found = _found(reference.locator, {})
            if found is not None:
                yield found
                break


def _is_purl(reference: Any) -> bool:
    return isinstance(reference, dict) and reference.get("referenceType") == "purl"


def _found(text: Any, properties: dict[str, str]) -> tuple[Found, Distribution | None] | None:
    """(package, distribution it says it is of); None for a package that is not matched."""
    if not isinstance(text, str) or len(text) > 4096:
        return None
    try:
        parsed = packageurl.PackageURL.from_string(text)
    except ValueError:
        return None
    kind, name, version = parsed.type, clean(parsed.name), clean(parsed.version or "")
    if kind not in _KINDS or not name or not version:
        return None
    qualifiers = parsed.qualifiers if isinstance(parsed.qualifiers, dict) else {}
    namespace = clean(parsed.namespace or "")
    if kind in ("npm", "golang"):
        return Found(kind, f"{namespace}/{name}" if namespace else name, version), None
    if kind not in ("deb", "apk", "rpm"):
        return Found(kind, name, version, namespace if kind == "maven" else ""), None
    epoch = qualifiers.get("epoch", "0")
    if epoch.isdigit() and epoch != "0" and ":" not in version:
        version = f"{epoch}:{version}"
    source, source_version = _source(qualifiers, properties, version)
    label = qualifiers.get("rpmmod") or qualifiers.get("modularitylabel") or ""
    found = Found(
        kind,
        name,
        version,
        arch=clean(qualifiers.get("arch", "")),
        source=source or name,
        source_version=source_version or version,
        module=":".join(clean(label).split(":")[:2]),
    )
    # "debian-12", "opensuse-leap-15.5"
    identifier, _, release = clean(qualifiers.get("distro", "")).rpartition("-")
    return found, Distribution(identifier.lower(), release) if identifier else None


def _source(qualifiers: dict[str, str], properties: dict[str, str], version: str) -> tuple[str, str]:
    """(name, version) of the source package, where the document tells it."""
    name = clean(properties.get(_TRIVY + "SrcName", ""))
    if name:
        text = properties.get(_TRIVY + "SrcVersion", "")
        release, epoch = properties.get(_TRIVY + "SrcRelease", ""), properties.get(_TRIVY + "SrcEpoch", "")
        text = f"{text}-{release}" if release else text
        return name, clean(f"{epoch}:{text}" if epoch not in ("", "0") and text else text)
    upstream = clean(qualifiers.get("upstream", ""))
    if upstream.endswith(".src.rpm"):
        return upstream.rsplit("-", 2)[0], version
    name, _, text = upstream.partition("@")
    return name, text
