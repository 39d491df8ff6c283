"""Severities: Harbor's names and their order, and how other sources' words and CVSS vectors map to them.

Sources: CVSS v3.1 section 5 and v4.0 section 6 (qualitative ratings), NVD's ratings for v2, the severity
fields of OSV, GitHub, Ubuntu, Debian's urgencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import cvss
    from cvss import exceptions
else:
    cvss = optional("cvss")
    exceptions = optional("cvss.exceptions")

ORDER = ("Unknown", "None", "Low", "Medium", "High", "Critical")
RANK = {name: rank for rank, name in enumerate(ORDER)}

_WORDS = {
    "critical": "Critical",
    "high": "High",
    "important": "High",
    "moderate": "Medium",
    "medium": "Medium",
    "low": "Low",
    "minor": "Low",
    "negligible": "None",
    "unimportant": "None",
    "none": "None",
}


def word(text: Any) -> str:
    """Harbor's severity for a source's word; "" when it says nothing."""
    if not isinstance(text, str):
        return ""
    return _WORDS.get(text.strip().strip("*").lower(), "")


def rating(score: float, *, version: int = 3) -> str:
    """Harbor's severity for a CVSS base score (0 to 10)."""
    if score <= 0:
        return "None"
    if score < 4:
        return "Low"
    if score < 7:
        return "Medium"
    # CVSS v2 has no critical.
    return "High" if score < 9 or version == 2 else "Critical"


def vector(text: Any) -> tuple[str, float] | None:
    """(severity, base score) of a CVSS vector of version 2, 3.x or 4.0; None when it is not one."""
    if not isinstance(text, str) or len(text) > 255:
        return None
    try:
        if text.startswith("CVSS:4"):
            score = float(cvss.CVSS4(text).base_score)
        elif text.startswith("CVSS:3"):
            score = float(cvss.CVSS3(text).base_score)
        else:
            score = float(cvss.CVSS2(text.strip("()")).base_score)
            return rating(score, version=2), score
    except (exceptions.CVSSError, ValueError, KeyError, ArithmeticError, TypeError):
        return None
    return rating(score), score


def highest(severities: Any) -> str:
    """The most severe of several; Harbor's "None" for no finding at all."""
    return max(severities, key=lambda s: RANK.get(s, 0), default="None")
