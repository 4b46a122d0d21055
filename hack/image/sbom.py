"""Writes what the image holds as a CycloneDX bill of materials, from its file system and the lock file.

    sbom.py --version VERSION --created TIME FOLDER OUTPUT

Of each wheel: the licence it states, and the hash of the very file of uv.lock that was installed; one that is
not of the lock is an error. Of Debian: the packages that dpkg still knows of. The same image, the same bytes.
"""

import argparse
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.hash.factories import HashTypeFactory
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

LOCK = Path(__file__).parents[2] / "uv.lock"
"""Where the hashes come from."""
_OWN = "podgate"


def main() -> None:
    """Write the file and say how much is in it. Exits with a message where a wheel is not of the lock."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--version", required=True)
    parser.add_argument(
        "--created", required=True, type=datetime.fromisoformat, help="ISO 8601, of the commit"
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    try:
        lock = tomllib.loads(LOCK.read_text())
        bom = bill(arguments.root, lock, arguments.version, arguments.created)
    except (LookupError, OSError) as error:
        sys.exit(f"sbom: {error}")
    arguments.output.write_text(written(bom))
    print(f"sbom: {len(bom.components)} components in {arguments.output}")


def bill(root: Path, lock: dict[str, Any], version: str, created: datetime) -> Bom:
    """The bill of a file system. Raises LookupError for a wheel that the lock does not have."""
    own = _component(ComponentType.CONTAINER, PackageURL("oci", name=_OWN, version=version))
    found = [*_python(root), *_wheels(root, lock), *_debian(root)]
    components = {str(each.purl): each for each in found}
    names = "\n".join(sorted(components))
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"{own.purl}\n{names}"),
        metadata=BomMetaData(component=own, timestamp=created.astimezone(UTC)),
        components=components.values(),
    )
    bom.register_dependency(own, components.values())
    return bom


def written(bom: Bom) -> str:
    """CycloneDX 1.6 as JSON, sorted."""
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(kind: ComponentType, purl: PackageURL, **more: Any) -> Component:  # noqa: ANN401 - of cyclonedx
    return Component(
        type=kind, name=purl.name, version=purl.version, purl=purl, bom_ref=purl.to_string(), **more
    )


def _python(root: Path) -> Iterator[Component]:
    """The interpreter of the environment: in python:slim, no package of Debian's."""
    lines = (root / "opt/podgate/pyvenv.cfg").read_text().splitlines()
    settings = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    yield _component(
        ComponentType.PLATFORM, PackageURL("generic", name="python", version=settings["version"])
    )


# --- wheels ------------------------------------------------------------------------------------


def _wheels(root: Path, lock: dict[str, Any]) -> Iterator[Component]:
    locked = {(each["name"], each["version"]): each for each in lock["package"] if "version" in each}
    for folder in sorted(root.glob("opt/podgate/lib/python3*/site-packages/*.dist-info")):
        about = _headers(folder / "METADATA")
        name, version = about["Name"].lower().replace("_", "-").replace(".", "-"), about["Version"]
        hashes = [] if name == _OWN else [_hash(folder, locked, name, version)]
        yield _component(
            ComponentType.LIBRARY,
            PackageURL("pypi", name=name, version=version),
            licenses=list(_licences(about)),
            hashes=hashes,
        )


def _headers(path: Path) -> Message:
    return HeaderParser().parsestr(path.read_text())


def _hash(folder: Path, locked: dict[tuple[str, str], Any], name: str, version: str) -> HashType:
    """Of the wheel whose tags are those that were installed."""
    tags = set(_headers(folder / "WHEEL").get_all("Tag", []))
    for wheel in locked.get((name, version), {}).get("wheels", []):
        if tags == _tags(wheel["url"]):
            return HashTypeFactory().from_composite_str(wheel["hash"])
    raise LookupError(
        f"{name} {version} is installed, and uv.lock has no such wheel ({', '.join(sorted(tags))})"
    )


def _tags(url: str) -> set[str]:
    """`py2.py3-none-any` in a file's name stands for both of its tags."""
    *_, pythons, abis, platforms = url.rpartition("/")[2].removesuffix(".whl").split("-")
    return {
        f"{python}-{abi}-{platform}"
        for python in pythons.split(".")
        for abi in abis.split(".")
        for platform in platforms.split(".")
    }


def _licences(about: Message) -> Iterator[License]:
    """What the wheel states: an SPDX expression since metadata 2.4, free text before."""
    stated = about["License-Expression"] or about["License"]
    if stated and "\n" not in stated:
        yield LicenseFactory().make_from_string(stated)
        return
    for classifier in about.get_all("Classifier", []):
        if classifier.startswith("License ::"):
            yield LicenseFactory().make_with_name(classifier.rpartition(" :: ")[2])


# --- Debian ------------------------------------------------------------------------------------


def _debian(root: Path) -> Iterator[Component]:
    release = dict(
        line.replace('"', "").split("=", 1)
        for line in (root / "etc/os-release").read_text().splitlines()
        if "=" in line
    )
    for text in (root / "var/lib/dpkg/status").read_text().strip().split("\n\n"):
        package = HeaderParser().parsestr(text)
        if package["Status"].endswith(" installed"):
            yield _debian_package(package, f"{release['ID']}-{release['VERSION_ID']}")


def _debian_package(package: Message, release: str) -> Component:
    # Advisories name the source: "Source: glibc (2.41-12)", the version only where it is another.
    source, _, source_version = (package["Source"] or package["Package"]).partition(" ")
    upstream = f"{source}@{source_version.strip('()') or package['Version']}"
    qualifiers = {"arch": package["Architecture"], "distro": release, "upstream": upstream}
    return _component(
        ComponentType.LIBRARY,
        PackageURL("deb", "debian", package["Package"], package["Version"], qualifiers),
    )


if __name__ == "__main__":
    main()
