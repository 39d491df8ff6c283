"""From a harbor.yml to a running host: settings, keys, systemd units, compose file.

Files belong to the user who runs Seawall (`owner.owner_of`), and the compose file names that user too.
Everything is written again on each run from harbor.yml alone, except keys: those below
`data_volume/secret` are made once and then kept, whatever happens. Instances that share services share that
folder's content too; copy it to the second host before its first run.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import yaml

from seawall.infra.loading import load
from seawall.infra.settings import Settings
from seawall.install import certificates, harbor_yml
from seawall.install.key_files import Folders, key_paths, make_keys
from seawall.install.marked import Checked
from seawall.install.owner import Owner, can_read, can_write, owner_of
from seawall.install.report import PrepareReport
from seawall.install.translation import GCS_KEY, settings_of
from seawall.install.unit_files import (
    DEFAULT_PREFIX,
    Writer,
    accelerated,
    compose,
    environment,
    header,
    log_folder,
    logrotate,
    nginx_conf,
    rsyslog,
    systemd_unit,
)
from seawall.kernel.errors import ConfigError

# What became of the parts that Harbor's installer adds with `--with-...`.
PARTS = {
    "trivy": "not needed: Seawall's own scanner is always there (`seawall scan db` brings its data)",
    "clair": "not needed: Seawall's own scanner is always there (`seawall scan db` brings its data)",
    "notary": "not needed: Notary's API and cosign signatures are always there",
    "chartmuseum": "not needed: charts are OCI artifacts, which `helm push` brings",
}


def prepare(
    file: Path, output: Path, *, prefix: Path = DEFAULT_PREFIX, user: str = "seawall"
) -> PrepareReport:
    """Write everything that `file` asks for: configuration to `output`, keys to its data volume.

    `prefix` is where the program is installed, `user` who runs it. Raises ConfigError with every fault of the
    file, one a line.
    """
    found = harbor_yml.read(file)
    harbor_yml.refuse(found, file)
    files_there(found)
    harbor_yml.refuse(found, file)
    config = output / "common" / "config"
    trial_settings(found, file, output)
    report = PrepareReport(notes=found.notes)
    data = Path(found.get("data_volume"))
    owner = owner_of(user)
    report.owner = owner
    folders = Folders(owner)
    make_keys(data, folders, report)
    config.mkdir(parents=True, exist_ok=True)
    write = Writer(report, owner)
    _take_certificate(found, data, owner, folders, write)
    settings = settings_of(found, config)
    if settings["storage"]["driver"] == "filesystem":
        folders.make(Path(settings["storage"]["root"]))
        reason = can_write(owner, settings["storage"]["root"])
        if reason:
            raise ConfigError(f"{settings['storage']['root']} cannot be written by {owner}: {reason}")
    write.file(config / "seawall.yml", header(file) + yaml.safe_dump(settings), 0o600)
    for path in (config / "seawall.yml", *key_paths(data).values()):
        _must_read(owner, path)
    if found.get("storage_service.gcs.credentials"):
        key = json.dumps(found.get("storage_service.gcs.credentials"), indent=2)
        write.file(config / GCS_KEY, f"{key}\n", 0o600)
    write.file(config / "seawall.env", environment(found), 0o640)
    logs = log_folder(found)
    folders.make(logs)
    if not found.get("log.external_endpoint"):
        write.file(config / "logrotate.conf", logrotate(found, logs), 0o644)
    else:
        write.file(config / "rsyslog.conf", rsyslog(found), 0o644)
    if accelerated(settings):
        write.file(config / "nginx.conf", nginx_conf(settings), 0o644)
    units = output / "systemd"
    units.mkdir(exist_ok=True)
    for name, command in (("seawall", "serve"), ("seawall-jobservice", "jobservice")):
        unit = systemd_unit(name, command, found, config, prefix, user, logs)
        write.file(units / f"{name}.service", unit, 0o644)
    write.file(output / "docker-compose.yml", compose(found, config, settings, owner), 0o644)
    return report


def _must_read(owner: Owner, path: Path) -> None:
    reason = can_read(owner, str(path))
    if reason:
        raise ConfigError(
            f"{path} cannot be read by {owner}: {reason}; a folder above it is closed to others: use "
            "one in /opt or /srv, for example (--output, or data_volume in harbor.yml)"
        )


_FILES = (
    "storage_service.ca_bundle",
    "storage_service.gcs.keyfile",
    "external_redis.tlsOptions.rootCA",
    "external_database.harbor.ssl_root_cert",
)


def files_there(found: Checked) -> None:
    """Faults for files that harbor.yml names and that are not there, or are not what they should be."""
    for key in _FILES:
        if found.get(key):
            try:
                Path(found.get(key)).open("rb").close()
            except OSError as error:
                found.fault(key, f"{found.get(key)}: {error.strerror}")
    if isinstance(found.values.get("https"), dict):
        given = Path(found.get("https.certificate")), Path(found.get("https.private_key"))
        try:
            certificates.check_pair(*given)
        except certificates.CertificateError as error:
            found.fault(f"https.{error.part}", str(error))


def _take_certificate(found: Checked, data: Path, owner: Owner, folders: Folders, write: Writer) -> None:
    """Copy certificate and key to the data volume, as Harbor does, where `owner` cannot read them."""
    section = found.values.get("https")
    if not isinstance(section, dict):
        return
    if not any(can_read(owner, section[part]) for part in ("certificate", "private_key")):
        return
    folder = data / "secret" / "cert"
    folders.make(folder)
    for part, name in (("certificate", "server.crt"), ("private_key", "server.key")):
        write.file(folder / name, Path(section[part]).read_text(), 0o600)
    found.note(
        "https.certificate",
        f"{owner} cannot read certificate and key, so they were copied to {folder}; run prepare again when "
        "they are renewed",
    )
    section["certificate"], section["private_key"] = str(folder / "server.crt"), str(folder / "server.key")


def trial_settings(found: Checked, file: Path, output: Path) -> Settings:
    """The settings that `prepare` would write. Raises ConfigError when section `seawall` makes no sense."""
    settings = settings_of(found, output / "common" / "config")
    with tempfile.TemporaryDirectory(prefix="seawall-prepare-") as folder:
        trial = Path(folder) / "seawall.yml"
        trial.write_text(yaml.safe_dump(settings))
        try:
            return load(trial)
        except ConfigError as error:
            # The mapping makes valid settings of a valid file, so this is about section `seawall`.
            reason = re.sub(rf"^{re.escape(str(trial))}( line \d+)?: ", "", str(error))
            raise ConfigError(f"{file} line {found.line('seawall')}: seawall.{reason}") from None


# -- settings ------------------------------------------------------------------------------------------


# -- keys ----------------------------------------------------------------------------------------------


# -- files ---------------------------------------------------------------------------------------------
