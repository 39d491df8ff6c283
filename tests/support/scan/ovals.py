"""OVAL files in the shapes of Debian, Ubuntu, Red Hat and SUSE; `oscap` holds them against OVAL's schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

_NAMESPACES = (
    'xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" '
    'xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5" '
    'xmlns:ind-def="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent" '
    'xmlns:linux="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux"'
)
_OTHER = '<ind-def:{0} xmlns:ind-def="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent" '


@dataclass
class Oval:
    """One file; `space` is the namespace of its ids ("org.debian"), `kind` dpkginfo or rpminfo."""

    space: str
    kind: str
    definitions: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)

    def _id(self, part: str, number: int) -> str:
        return f"oval:{self.space}:{part}:{number}"

    def package(self, comment: str, *names: str, evr: str = "", operation: str = "less than") -> str:
        """A criterion that looks at packages; several names stand in a variable, as in Ubuntu's files."""
        number = len(self.tests) + 1
        state = ""
        if evr:
            kind = "debian_evr_string" if self.kind == "dpkginfo" else "evr_string"
            self.states.append(
                f'<linux:{self.kind}_state id="{self._id("ste", number)}" version="1"><linux:evr '
                f'datatype="{kind}" operation="{operation}">{evr}</linux:evr></linux:{self.kind}_state>'
            )
            state = f'<linux:state state_ref="{self._id("ste", number)}"/>'
        if len(names) == 1:
            name = f"<linux:name>{names[0]}</linux:name>"
        else:
            reference = self._id("var", number)
            values = "".join(f"<value>{item}</value>" for item in names)
            self.variables.append(
                f'<constant_variable id="{reference}" version="1" datatype="string" comment="names">{values}'
                "</constant_variable>"
            )
            name = f'<linux:name var_ref="{reference}" var_check="at least one"/>'
        self.objects.append(
            f'<linux:{self.kind}_object id="{self._id("obj", number)}" version="1">{name}'
            f"</linux:{self.kind}_object>"
        )
        self.tests.append(
            f'<linux:{self.kind}_test id="{self._id("tst", number)}" version="1" check="at least one" '
            f'check_existence="at_least_one_exists" comment={quoteattr(comment)}><linux:object '
            f'object_ref="{self._id("obj", number)}"/>{state}</linux:{self.kind}_test>'
        )
        return f'<criterion test_ref="{self._id("tst", number)}" comment={quoteattr(comment)}/>'

    def other(self, comment: str, path: str = "/etc/debian_version") -> str:
        """A criterion about a file: how releases, module streams and so on are told."""
        number = len(self.tests) + 1
        self.objects.append(
            _OTHER.format("textfilecontent54_object") + f'id="{self._id("obj", number)}" version="1">'
            f"<ind-def:filepath>{path}</ind-def:filepath>"
            '<ind-def:pattern operation="pattern match">.</ind-def:pattern>'
            '<ind-def:instance datatype="int">1</ind-def:instance></ind-def:textfilecontent54_object>'
        )
        self.tests.append(
            _OTHER.format("textfilecontent54_test") + f'id="{self._id("tst", number)}" version="1" '
            f'check="at least one" comment={quoteattr(comment)}><ind-def:object '
            f'object_ref="{self._id("obj", number)}"/></ind-def:textfilecontent54_test>'
        )
        return f'<criterion test_ref="{self._id("tst", number)}" comment={quoteattr(comment)}/>'

    def define(
        self,
        title: str,
        platform: str,
        criteria: str,
        *references: str,
        advisory: str = "",
        kind: str = "vulnerability",
        identifier: str = "",
    ) -> str:
        """Add a definition; returns its id."""
        name = identifier or self._id("def", len(self.definitions) + 1)
        links = "".join(
            f'<reference source="{ref.partition("-")[0]}" ref_id="{ref}" ref_url="https://e.test/{ref}"/>'
            for ref in references
        )
        self.definitions.append(
            f'<definition id="{name}" version="1" class="{kind}"><metadata><title>{escape(title)}</title>'
            f'<affected family="unix"><platform>{platform}</platform></affected>{links}'
            f"<description>about {escape(title)}</description>{advisory}</metadata>{criteria}</definition>"
        )
        return name

    def text(self) -> str:
        """The file."""
        parts = [
            f'<?xml version="1.0"?><oval_definitions {_NAMESPACES}><generator><oval:schema_version>5.11.1'
            "</oval:schema_version><oval:timestamp>2024-01-02T03:04:05</oval:timestamp></generator>"
        ]
        for name in ("definitions", "tests", "objects", "states", "variables"):
            items = getattr(self, name)
            if items:
                parts.append(f"<{name}>{''.join(items)}</{name}>")
        return "".join([*parts, "</oval_definitions>"])


def all_of(*criteria: str) -> str:
    """Criteria under AND."""
    return f'<criteria operator="AND">{"".join(criteria)}</criteria>'


def any_of(*criteria: str) -> str:
    """Criteria under OR."""
    return f'<criteria operator="OR">{"".join(criteria)}</criteria>'
