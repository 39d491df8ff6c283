"""Distinguished names that a directory takes for the same are the same string here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.utils.dn import escape_rdn

from seawall.access.dn import first_value, normal_dn

OPS = "cn=ops,ou=groups,dc=example"


@pytest.mark.parametrize(
    "spelling",
    [
        "cn=ops,ou=groups,dc=example",
        "CN=Ops,OU=Groups,DC=Example",
        "cn=Ops, ou=groups, dc=example",
        "cn = Ops , ou= groups ,dc =example",
        "cn=\\4fps,ou=groups,dc=example",
        "cn=\\6f\\70\\73,ou=groups,dc=example",
    ],
)
def test_spellings_of_one_name(spelling: str) -> None:
    assert normal_dn(spelling) == OPS


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cn=\u00dcbersee,dc=x", "cn=\u00fcbersee,dc=x"),
        ("cn=\u00dcbersee,dc=x", "cn=\\C3\\9Cbersee,dc=x"),
        ("cn=\u00dcbersee,dc=x", "cn=U\u0308bersee,dc=x"),
        ("cn=a\\, b,dc=x", "cn=A\\2C  B,dc=x"),
        ("cn=a+sn=b,dc=x", "CN=A + SN=b,dc=x"),
    ],
)
def test_equal(first: str, second: str) -> None:
    assert normal_dn(first) == normal_dn(second) != ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cn=a\\,dc=x,dc=y", "cn=a,dc=x,dc=y"),
        ("cn=a\\5cb,dc=x", "cn=ab,dc=x"),
        ("cn=ops,dc=x", "ou=ops,dc=x"),
        ("cn=o ps,dc=x", "cn=ops,dc=x"),
    ],
)
def test_different(first: str, second: str) -> None:
    assert normal_dn(first) != normal_dn(second)


@pytest.mark.parametrize("text", ["", "ops", "=", "cn=a,,dc=x", ",", "cn"])
def test_malformed(text: str) -> None:
    assert normal_dn(text) == ""


@given(st.text(min_size=1, max_size=20).filter(lambda text: text.strip() and "\0" not in text))
def test_the_form_is_a_name_again(value: str) -> None:
    """Normal is normal once more, and never lets a value end a part of the name."""
    normal = normal_dn(f"cn={escape_rdn(value)},dc=x")
    if normal:
        assert normal_dn(normal) == normal
        assert normal.endswith(",dc=x")


def test_what_people_read() -> None:
    assert first_value("CN=\u00dcber\\, All,ou=groups") == "\u00dcber, All"
    assert first_value("no name") == "no name"
