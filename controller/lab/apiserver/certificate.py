"""A certificate for https, made by openssl: kubectl sends tokens over nothing less."""

import subprocess
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from msgspec import Struct


class CertificateError(Exception):
    """openssl is missing or refuses."""


class Certificate(Struct, frozen=True):
    """A certificate that is its own authority, and its key, as PEM files."""

    certificate: Path
    key: Path


def self_signed(folder: Path, hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1")) -> Certificate:
    """Make one for names and addresses, valid for 10 days. Raises CertificateError; takes about 0.1 s."""
    made = Certificate(folder / "tls.crt", folder / "tls.key")
    command = [
        *("openssl", "req", "-x509", "-nodes", "-days", "10", "-subj", "/CN=podgate-lab"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-addext", "subjectAltName=" + ",".join(_alternative(host) for host in hosts)),
        *("-keyout", str(made.key), "-out", str(made.certificate)),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise CertificateError("openssl is not installed; give a certificate, or serve plain HTTP") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
        raise CertificateError(f"openssl could not make a certificate in {folder}: {reason}") from None
    return made


def _alternative(host: str) -> str:
    try:
        return f"IP:{ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"
