"""A machine that is thrown away: this one's root, copied on write, without a network, with its own processes.

So a page may write to /etc, listen at 8080 and leave servers behind, as it does at a reader's.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.pages import Block, blocks
from tests.support.processes import ROOT, clean_environment

ADMIN_PASSWORD = "Change-me-12345"
_HOSTS = (
    "registry.example.com a.example.com b.example.com c.example.com db.example.com db1.example.com "
    "db2.example.com r1.example.com r2.example.com r3.example.com harbor.example.com"
)

_HERE = Path(__file__).parent
_WARM = _HERE / "warm.py"
_READER = f"source {_HERE / 'reader.sh'}"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Walk:
    """Pages that a reader goes through in this order on one machine.

    `home`: working directory; `before`: shell commands that prepare what the pages take for granted;
    `environment`: what the reader has exported;
    `apart`: each page is read in a folder of its own.
    """

    name: str
    pages: list[str]
    home: str = "/root/reader"
    before: str = ""
    apart: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def script(page: str, found: list[Block] | None = None) -> str:
    """The page as a bash script: its blocks that are run, files written, in order."""
    lines = [_READER]
    for block in blocks(page) if found is None else found:
        if block.mark in ("not run", "run by"):
            continue
        if block.file:
            name = shlex.quote(block.file) if not block.file.startswith("~") else block.file
            lines.append(
                f"mkdir -p \"$(dirname {name})\"\ncat >{name} <<'END-OF-FILE'\n{block.text}END-OF-FILE"
            )
        elif block.runs:
            lines.append(f'BLOCK={shlex.quote(block.where)}; echo "== $BLOCK"')
            text = "\n".join(_foreground(line) for line in block.text.splitlines())
            if block.mark == "ends with":
                lines.append(f"code=0; (\n{text}\n) || code=$?")
                told = f"FAILED $BLOCK: ended with $code, not {int(block.value)}"
                lines.append(f'[[ $code == {int(block.value)} ]] || {{ echo "{told}"; exit 1; }}')
            else:
                lines.append(text)
    return "\n".join(lines) + "\n"


def _foreground(line: str) -> str:
    # A server in the background is waited for too.
    if line.rstrip().endswith(" serve &"):
        return line.rstrip().removesuffix(" &")
    return line


def walk(journey: Walk, folder: Path) -> str:
    """Go through the pages; returns what was printed. Raises AssertionError with the block that failed."""
    steps = folder / "steps"
    steps.mkdir()
    names = []
    for number, page in enumerate(journey.pages):
        name = f"{number:02}.sh"
        (steps / name).write_text(script(page))
        names.append((page, name))
    environment = {
        "PATH": f"{ROOT}/.venv/bin:{Path(sys.executable).parent}:{_PATH}",
        "DOCS_WARM": str(_WARM),
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "SEAWALL_ADMIN_PASSWORD": ADMIN_PASSWORD,
        **journey.environment,
    }
    given = " ".join(shlex.quote(f"{key}={value}") for key, value in environment.items())
    inside = f"""{_READER}
cd {shlex.quote(journey.home)}
BLOCK=preparation
{journey.before}
"""
    (steps / "before.sh").write_text(inside)

    def home(name: str) -> str:
        return f"{journey.home}/{name.removesuffix('.sh')}" if journey.apart else shlex.quote(journey.home)

    run = "\n".join(
        f"mkdir -p {home(name)}; cd {home(name)}; echo '# {page}'; bash {steps}/{name} || exit 1"
        for page, name in names
    )
    (steps / "all.sh").write_text(
        f"(cd {ROOT}; exec {sys.executable} -m tests.support.docs.warm serve /run/warm) &\n"
        "while ! [ -e /run/warm ]; do sleep 0.05; done\n"
        f"bash {steps}/before.sh || exit 1\n{run}\n"
    )
    over = folder / "over"
    over.mkdir()
    outside = f"""set -e
ip link set lo up
mount -t tmpfs tmpfs {over}
mkdir {over}/upper {over}/work {over}/root
mount -t overlay overlay -o lowerdir=/,upperdir={over}/upper,workdir={over}/work {over}/root
cd {over}/root
mount --rbind /dev dev
mount -t proc proc proc
mount -t tmpfs tmpfs run
mkdir -p .{journey.home}
chmod o+x root
rm -rf .{ROOT}/data .{ROOT}/seawall.yml ./etc/seawall
test -e .{ROOT}/.venv || ln -s {sys.prefix} .{ROOT}/.venv
touch .{ROOT}/.venv/.installed .{ROOT}/src/seawall/portal_dist/index.html
echo 127.0.0.1 localhost {_HOSTS} >etc/hosts
hostname localhost
exec chroot . env -i {given} bash {steps}/all.sh
"""
    done = subprocess.run(
        [
            *["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child"],
            *["bash", "-c", outside],
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        timeout=540,
        check=False,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stdout[-20000:]
    return done.stdout
