"""Certificates for HTTPS: those that are given, and one for a home network, self-signed and kept until it is old."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import logging
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from service.errors import FacetError
from service.extras import install_command

if TYPE_CHECKING:
    from cryptography import x509

logger = logging.getLogger("facet.tls")

DAYS: Final = 365
"""Days for which a certificate is good; browsers refuse more than 398."""
SPARE_DAYS: Final = 14
"""A certificate that ends sooner is made anew."""
WHITE_ON_BLACK: Final = "\x1b[97;40m"
PLAIN: Final = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a certificate and its key, its SHA-256 as browsers show it, and the hosts that it is for."""

    certificate: Path
    key: Path
    fingerprint: str
    hosts: tuple[str, ...]


def own_certificate() -> Certificate:
    """A self-signed certificate of this machine.

    Returns:
        The certificate, kept from one start to the next.

    Raises:
        FacetError: The `cryptography` package is not installed, or there is no home folder.
        OSError: It cannot be kept.
    """
    return self_signed(folder(), own_hosts())


def announce(made: Certificate, port: int) -> None:
    """Log a certificate with the addresses that it is for; a terminal also shows that for phones as a QR code.

    Args:
        made: A self-signed certificate.
        port: The port that is listened on.
    """
    for host in made.hosts:
        logger.info("reached at https://%s:%d", f"[{host}]" if ":" in host else host, port)
    address = network_address(made.hosts)
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if address is not None and terminal and (code := qr_code(f"https://{address}:{port}")):
        sys.stderr.write(code)
    logger.info("browsers warn once, for no authority vouches for it; its SHA-256 is %s", made.fingerprint)


def folder() -> Path:
    """Where the certificate is kept between starts, so that a phone has to accept it only once.

    Returns:
        A folder below `XDG_STATE_HOME`, or below the home folder.

    Raises:
        FacetError: There is neither.
    """
    state = os.environ.get("XDG_STATE_HOME")
    if state:
        return Path(state) / "facet"
    try:
        return Path.home() / ".local" / "state" / "facet"
    except RuntimeError as error:  # nor has the user an entry in /etc/passwd
        raise FacetError("--tls keeps its certificate in a home folder, which is not there: set XDG_STATE_HOME.") from error


def own_hosts() -> tuple[str, ...]:
    """Names and addresses by which this machine is reached.

    Returns:
        Each once, localhost first.
    """
    name = socket.gethostname()
    hosts = ["localhost", "127.0.0.1", "::1", name, name if "." in name else f"{name}.local"]
    # Connecting a datagram socket sends nothing: it asks the system which of its addresses a packet would leave from.
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        hosts.append(probe.getsockname()[0])
    with contextlib.suppress(OSError, UnicodeError):  # a machine's name may be longer than a part of a domain's
        hosts += [str(found[4][0]) for found in socket.getaddrinfo(name, None, socket.AF_INET)]
    return tuple(dict.fromkeys(hosts))


def network_address(hosts: Sequence[str]) -> str | None:
    """The address by which other machines of the network reach this one.

    Args:
        hosts: Names and addresses, as of `own_hosts`.

    Returns:
        The first address of IPv4 that is not this machine's alone; None without one.
    """
    for host in hosts:
        with contextlib.suppress(ValueError):
            address = ipaddress.IPv4Address(host)
            if not (address.is_loopback or address.is_link_local or address.is_unspecified):
                return host
    return None


def qr_code(url: str) -> str | None:
    """A URL as a QR code (ISO/IEC 18004) for a terminal, two modules a character, dark on light in any colour scheme.

    Args:
        url: What a phone is to open.

    Returns:
        Lines of text with escape sequences for colours; None where the `segno` package is not installed.
    """
    try:
        import segno
    except ImportError:
        return None
    drawn = io.StringIO()
    segno.make_qr(url).terminal(drawn, border=2, compact=True)
    return "".join(f"{WHITE_ON_BLACK}{line}{PLAIN}\n" for line in drawn.getvalue().splitlines())


def self_signed(where: Path, hosts: tuple[str, ...], spare_days: float = SPARE_DAYS) -> Certificate:
    """Load the certificate that is kept in a folder, or make a new one.

    Args:
        where: The folder.
        hosts: Names and addresses that it has to be for.
        spare_days: Least days for which it must still be valid.

    Returns:
        The certificate; a new one where none is kept, it ends too soon or it lacks a host.

    Raises:
        FacetError: The `cryptography` package is not installed.
        OSError: The folder cannot be written to.
    """
    try:
        from cryptography.hazmat.primitives import hashes
    except ImportError as error:
        raise FacetError(f"--tls needs the cryptography package: {install_command('tls')}; or give a certificate.") from error
    certificate, key = where / "certificate.pem", where / "key.pem"
    kept = _kept(certificate, key, hosts, spare_days)
    if kept is None:
        where.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = _write(certificate, key, hosts)
    return Certificate(certificate, key, kept.fingerprint(hashes.SHA256()).hex(":").upper(), hosts)


def usable(certificate: Path, key: Path) -> ssl.SSLContext:
    """Read the files that HTTPS is to be served with.

    Args:
        certificate: PEM file of a certificate, or of its chain.
        key: PEM file of its key.

    Returns:
        What speaks TLS with them, and with no other certificate.

    Raises:
        FacetError: A file cannot be read, or is none of these; the key is another certificate's, or wants a pass phrase.
    """

    def pass_phrase() -> str:
        raise FacetError(f"FACET_TLS_KEY: {key} wants a pass phrase, which nobody is there to give: decrypt it by openssl pkey")

    for name, file in (("FACET_TLS_CERTIFICATE", certificate), ("FACET_TLS_KEY", key)):
        try:
            file.read_bytes()
        except OSError as error:
            raise FacetError(f"{name}: {file} cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, pass_phrase)
    except ssl.SSLError as error:
        other = error.reason == "KEY_VALUES_MISMATCH"
        why = f"{key} is the key of another certificate" if other else f"with {key} OpenSSL says {error.reason or error}"
        raise FacetError(f"FACET_TLS_CERTIFICATE: {certificate} cannot be used: {why}") from error
    return context


def _kept(certificate: Path, key: Path, hosts: tuple[str, ...], spare_days: float) -> x509.Certificate | None:
    """The certificate on the disk, where it is good for some time yet, for all of the hosts, and its key lies beside it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        kept = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        fits = load_pem_private_key(key.read_bytes(), None).public_key() == kept.public_key()
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return None
    known = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    end = kept.not_valid_after_utc - timedelta(days=spare_days)
    return kept if fits and kept.not_valid_before_utc <= datetime.now(UTC) < end and known >= set(hosts) else None


def _write(certificate: Path, key: Path, hosts: tuple[str, ...]) -> x509.Certificate:
    """Make a key and its certificate, and write both; the key for its owner's eyes alone."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Facet")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of phones differ
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    return made


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
