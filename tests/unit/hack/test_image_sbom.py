"""The bill of materials of an image, of a small file system made here."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from hack.image.sbom import bill, written

CREATED = datetime(2026, 1, 2, tzinfo=UTC)
URL = "https://files.example/"
LOCK = {
    "package": [
        {"name": "podgate"},
        {
            "name": "a-b",
            "version": "1.0",
            "wheels": [
                {"url": f"{URL}a_b-1.0-cp313-cp313-win_amd64.whl", "hash": "sha256:" + "0" * 64},
                {"url": f"{URL}a_b-1.0-py2.py3-none-any.whl", "hash": "sha256:" + "1" * 64},
            ],
        },
    ]
}
DPKG = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.41-12)
Version: 2.41-12+b1
Description: a
 libc

Package: perl-base
Status: deinstall ok config-files
Architecture: amd64
Version: 5

Package: tini
Status: install ok installed
Architecture: amd64
Version: 0.19.0-3
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    packages = tmp_path / "opt/podgate/lib/python3.13/site-packages"
    for folder, name, tags in (
        ("A_b-1.0.dist-info", "A_b", "Tag: py2-none-any\nTag: py3-none-any"),
        ("podgate-1.0.dist-info", "podgate", "Tag: py3-none-any"),
    ):
        (packages / folder).mkdir(parents=True)
        about = f"Name: {name}\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n"
        (packages / folder / "METADATA").write_text(about)
        (packages / folder / "WHEEL").write_text(f"Wheel-Version: 1.0\n{tags}\n")
    (tmp_path / "opt/podgate/pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.13.5\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_ID="13"\n')
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(DPKG)
    return tmp_path


def document(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written(bill(root, LOCK, "1.0", CREATED)))
    return found


def component(root: Path, name: str) -> dict[str, Any]:
    (found,) = (each for each in document(root)["components"] if each["name"] == name)
    return dict(found)


def test_wheels_debian_packages_and_python_are_in_it_and_nothing_that_was_removed(root: Path) -> None:
    assert sorted(each["purl"] for each in document(root)["components"]) == [
        "pkg:deb/debian/libc6@2.41-12%2Bb1?arch=amd64&distro=debian-13&upstream=glibc%402.41-12",
        "pkg:deb/debian/tini@0.19.0-3?arch=amd64&distro=debian-13&upstream=tini%400.19.0-3",
        "pkg:generic/python@3.13.5",
        "pkg:pypi/a-b@1.0",
        "pkg:pypi/podgate@1.0",
    ]


def test_a_wheel_has_the_hash_of_the_file_that_was_installed_and_its_licence(root: Path) -> None:
    found = component(root, "a-b")

    assert found["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert found["licenses"] == [{"expression": "MIT OR Apache-2.0"}]


def test_a_wheel_that_is_not_of_the_lock_is_an_error(root: Path) -> None:
    (wheel,) = root.glob("**/A_b-1.0.dist-info/WHEEL")
    wheel.write_text("Tag: cp313-cp313-linux_x86_64\n")

    with pytest.raises(LookupError, match=r"a-b 1\.0 is installed, and uv\.lock has no such wheel"):
        document(root)


def test_the_same_file_system_gives_the_same_bytes(root: Path) -> None:
    first = written(bill(root, LOCK, "1.0", CREATED))

    assert written(bill(root, LOCK, "1.0", CREATED)) == first
    assert json.loads(first)["metadata"]["timestamp"] == "2026-01-02T00:00:00+00:00"


def test_another_package_gives_another_serial_number(root: Path) -> None:
    first = document(root)["serialNumber"]
    status = root / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("0.19.0-3", "0.19.0-4"))

    assert document(root)["serialNumber"] != first


def test_it_is_valid_cyclonedx(root: Path) -> None:
    text = written(bill(root, LOCK, "1.0", CREATED))

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
