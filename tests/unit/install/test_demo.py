"""The demo image: it runs, it is always the same, and its manifests hold together."""

from __future__ import annotations

import io
import json
import os
import platform
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from seawall.install import demo
from seawall.kernel.errors import ConfigError
from seawall.kernel.names import digest_of
from seawall.registry import manifest as manifests


def test_program_prints_its_line(tmp_path: Path) -> None:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    file = tmp_path / "hello"
    file.write_bytes(demo.program(architecture))
    file.chmod(0o755)
    done = subprocess.run([str(file)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, demo.MESSAGE)


def test_arm_program_addresses_its_message() -> None:
    data = demo.program("arm64")
    assert struct.unpack_from("<H", data, 18) == (183,)
    (adr,) = struct.unpack_from("<I", data, 64 + 56 + 4)
    assert adr & 0x9F00001F == 0x10000001  # adr x1
    offset = (adr >> 5 & 0x7FFFF) << 2 | adr >> 29 & 3
    assert data[64 + 56 + 4 + offset :] == demo.MESSAGE


def test_same_bytes_each_time() -> None:
    assert demo.build() == demo.build()
    assert sum(map(len, demo.build().blobs.values())) < 10_000


def test_manifests_name_what_is_there() -> None:
    made = demo.build()
    index = manifests.parse(made.index.data, made.index.media_type)
    assert list(index.manifests) == [image.digest for image in made.images]
    for image in [*made.images, made.sbom]:
        parsed = manifests.parse(image.data, image.media_type)
        for digest, size in parsed.blobs.items():
            assert len(made.blobs[digest]) == size
            assert digest_of(made.blobs[digest]) == digest
    assert json.loads(made.sbom.data)["subject"]["digest"] == made.index.digest


def test_layer_has_the_program_and_the_package() -> None:
    made = demo.build()
    layer = json.loads(made.images[0].data)["layers"][0]
    with tarfile.open(fileobj=io.BytesIO(made.blobs[layer["digest"]])) as archive:
        assert archive.getmember("hello").mode == 0o755
        package = archive.extractfile("usr/lib/node_modules/seawall-demo/package.json")
        assert package is not None
        assert json.load(package) == {"name": demo.PACKAGE, "version": demo.VERSION, "license": "Apache-2.0"}


def test_layout_never_covers_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "image"
    demo.write_layout(folder, "1.0")
    demo.write_layout(folder, "2.0")
    named = json.loads((folder / "index.json").read_text())["manifests"][0]
    assert named["annotations"] == {"org.opencontainers.image.ref.name": "2.0"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(ConfigError, match="not empty"):
        demo.write_layout(tmp_path / "mine", "1.0")
    assert os.listdir(tmp_path / "mine") == ["file"]
