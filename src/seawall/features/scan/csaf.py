"""Advisories and VEX in CSAF 2.0, as Red Hat and SUSE publish them: one JSON document each.

Source: OASIS CSAF 2.0 (product tree, relationships, product status, profiles 4 and 5), purl.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from seawall.features.scan import ecosystems, severity
from seawall.features.scan.advisories import SUMMARY, Advisory, Affected, moment
from seawall.kernel.errors import InvalidError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import packageurl
else:
    packageurl = optional("packageurl")

_DEPTH = 32
_ROWS = 100_000
_FIXED = ("fixed", "first_fixed", "recommended")
_KINDS = {"rpm": "rpm", "deb": "deb"}


@dataclass(frozen=True, slots=True)
class _Product:
    """What a product id stands for; a component of a platform has both."""

    platform: str = ""
    kind: str = ""
    name: str = ""
    version: str = ""
    arch: str = ""
    module: str = ""


def recognised(document: dict[str, Any]) -> bool:
    """Whether it is a CSAF document."""
    head = document.get("document")
    return isinstance(head, dict) and "csaf_version" in head


def advisory(document: Any) -> Advisory:
    """A CSAF 2.0 document. Raises InvalidError when it is none, or has no id."""
    head = _dict(_dict(document).get("document"))
    tracking = _dict(head.get("tracking"))
    identifier = tracking.get("id")
    if not isinstance(identifier, str) or not identifier or head.get("csaf_version") != "2.0":
        raise InvalidError("not a CSAF 2.0 document with a tracking id")
    publisher = urlsplit(str(_dict(head.get("publisher")).get("namespace", ""))).hostname or ""
    products = _products(_dict(_dict(document).get("product_tree")))
    rows: dict[tuple[str, str, str, str], Affected] = {}
    cves, scores, links, cwes, texts = [], [], [], [], [str(head.get("title", ""))]
    for item in _dicts(_dict(document).get("vulnerabilities")):
        if isinstance(item.get("cve"), str):
            cves.append(item["cve"][:128])
        for row in _rows(item, products):
            events = [value for event in row.ranges[0]["events"] for value in event.values()]
            rows.setdefault((row.ecosystem, row.package, row.ranges[0].get("module", ""), events[-1]), row)
            if len(rows) > _ROWS:
                raise InvalidError("it names too many packages")
        for score in _dicts(item.get("scores")):
            for version in ("cvss_v3", "cvss_v4", "cvss_v2"):
                text = _dict(score.get(version)).get("vectorString")
                found = severity.vector(text)
                if found is not None:
                    scores.append((found[1], found[0], str(text)))
                    break
        if isinstance(_dict(item.get("cwe")).get("id"), str):
            cwes.append(item["cwe"]["id"])
        texts += [str(note.get("text", "")) for note in _dicts(item.get("notes"))]
        links += _links(item)
    links += _links(head)
    word = severity.word(_dict(head.get("aggregate_severity")).get("text"))
    best = max(scores, default=None)
    # A document about several vulnerabilities has the worst one's rating.
    return Advisory(
        # Publishers name their documents about a CVE alike.
        name=f"{publisher}/{identifier}"[:255] if publisher else identifier[:255],
        cves=sorted(set(cves)) or [identifier[:128]],
        affected=list(rows.values()),
        withdrawn=tracking.get("status") not in ("final", "interim"),
        severity=word or (best[1] if best else ""),
        score=best[0] if best else None,
        vector=best[2] if best else "",
        summary=next((text for text in texts[1:] if text), texts[0])[:SUMMARY],
        links=list(dict.fromkeys(links))[:20],
        cwes=list(dict.fromkeys(cwes))[:20],
        modified_at=moment(tracking.get("current_release_date")),
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _links(item: dict[str, Any]) -> list[str]:
    found = [str(entry.get("url", ""))[:1000] for entry in _dicts(item.get("references"))]
    return [url for url in found if url.startswith(("http://", "https://"))]


# -- products ------------------------------------------------------------------------------------------


def _products(tree: dict[str, Any]) -> dict[str, _Product]:
    found: dict[str, _Product] = {}
    for product in _leaves(tree, 0):
        identifier = product.get("product_id")
        if isinstance(identifier, str):
            found[identifier] = _product(product)
    pairs = []
    for item in _dicts(tree.get("relationships")):
        full = _dict(item.get("full_product_name")).get("product_id")
        if isinstance(full, str):
            pairs.append(
                (full, str(item.get("product_reference")), str(item.get("relates_to_product_reference")))
            )
    # A package may be a component of a module that is one of a platform, in any order.
    for _ in range(3):
        missing = []
        for full, part, whole in pairs:
            if part in found and whole in found:
                found[full] = _component(found[part], found[whole])
            else:
                missing.append((full, part, whole))
        if not missing or len(missing) == len(pairs):
            break
        pairs = missing
    return found


def _leaves(node: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEPTH:
        raise InvalidError("its product tree is too deep")
    if isinstance(node.get("product"), dict):
        yield node["product"]
    yield from _dicts(node.get("full_product_names"))
    for branch in _dicts(node.get("branches")):
        yield from _leaves(branch, depth + 1)


def _product(product: dict[str, Any]) -> _Product:
    helper = _dict(product.get("product_identification_helper"))
    platform = ecosystems.platform(str(product.get("name", ""))) or _cpe(str(helper.get("cpe", ""))) or ""
    text = helper.get("purl")
    if not isinstance(text, str):
        return _Product(platform)
    try:
        purl = packageurl.PackageURL.from_string(text)
    except ValueError:
        return _Product(platform)
    qualifiers = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
    if purl.type == "rpmmod":
        # "nodejs@14:8040020210817133458:522a0ee4"
        return _Product(module=f"{purl.name}:{unquote(purl.version or '').partition(':')[0]}")
    kind = _KINDS.get(purl.type)
    if kind is None or len(purl.name) > 255:
        return _Product(platform)
    version, epoch = purl.version or "", qualifiers.get("epoch", "0")
    if version and epoch not in ("", "0"):
        version = f"{epoch}:{version}"
    label = qualifiers.get("rpmmod") or qualifiers.get("modularitylabel") or ""
    module = ":".join(label.split(":")[:2])
    return _Product(platform, kind, purl.name, version, qualifiers.get("arch", ""), module)


def _cpe(text: str) -> str | None:
    """Ecosystem of a platform's CPE 2.2 or 2.3 name."""
    parts = text.removeprefix("cpe:2.3:").removeprefix("cpe:/").split(":")
    if len(parts) < 4:
        return None
    vendor, name, version = parts[1], parts[2], parts[3]
    if vendor == "redhat" and name in ("enterprise_linux", "rhel_eus", "rhel_aus", "rhel_e4s", "rhel_tus"):
        major = version.partition(".")[0]
        return f"red hat:{major}" if major.isdigit() else None
    if vendor == "suse" and name.startswith("sl"):
        pack = parts[4] if len(parts) > 4 and parts[4].startswith("sp") else ""
        return ecosystems.platform(f"SUSE Linux Enterprise Server {version} {pack.upper()}".strip())
    return None


def _component(part: _Product, whole: _Product) -> _Product:
    return _Product(
        platform=whole.platform or part.platform,
        kind=part.kind,
        name=part.name,
        version=part.version,
        arch=part.arch,
        module=part.module or whole.module,
    )


# -- status --------------------------------------------------------------------------------------------


def _rows(item: dict[str, Any], products: dict[str, _Product]) -> Iterator[Affected]:
    status = _dict(item.get("product_status"))
    reasons = _reasons(item)
    for name in (*_FIXED, "known_affected"):
        listed = status.get(name)
        for identifier in listed if isinstance(listed, list) else ():
            product = products.get(identifier) if isinstance(identifier, str) else None
            if product is None or not product.name:
                continue
            place = product.platform
            if ecosystems.SYSTEMS.get(place.partition(":")[0]) != product.kind:
                continue
            fixed = name in _FIXED
            if fixed and (not product.version or product.arch == "src"):
                continue
            events = [{"introduced": "0"}]
            if fixed:
                events.append({"fixed": product.version})
            elif product.version:
                events.append({"last_affected": product.version})
            entry: dict[str, Any] = {"type": "ECOSYSTEM", "events": events}
            if product.module:
                entry["module"] = product.module
            if product.kind == "rpm" and not fixed and product.arch in ("", "src"):
                # Without an architecture it is the component, and that is the source package.
                place += ecosystems.SOURCE
            reason = "" if fixed else reasons.get(identifier, "open")
            yield Affected(place, product.name, [entry], status=reason)


def _reasons(item: dict[str, Any]) -> dict[str, str]:
    found = {}
    for entry in _dicts(item.get("remediations")):
        if entry.get("category") != "no_fix_planned":
            continue
        text = str(entry.get("details", "")).lower()
        reason = "end-of-life" if "out of support" in text else "wontfix"
        listed = entry.get("product_ids")
        for identifier in listed if isinstance(listed, list) else ():
            if isinstance(identifier, str):
                found[identifier] = reason
    return found
