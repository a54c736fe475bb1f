"""HTTPS: a certificate of one's own making that is kept and renewed, and one that is given."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from service.errors import FacetError
from service.server import tls
from service.settings import Settings
from tests.client import ROOT
from tests.service.server.test_serve import FAKE, head, started

x509 = pytest.importorskip("cryptography.x509")
HOSTS = ("localhost", "127.0.0.1", "::1", "kitchen.local")


def test_a_certificate_names_its_hosts_and_its_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path / "new/folder", HOSTS)
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "kitchen.local"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=398)
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert len(made.fingerprint.split(":")) == 32


def test_it_is_kept_so_that_a_phone_accepts_it_once(tmp_path: Path) -> None:
    first = tls.self_signed(tmp_path, HOSTS)
    assert tls.self_signed(tmp_path, HOSTS).fingerprint == first.fingerprint
    assert tls.self_signed(tmp_path, HOSTS[:2]).fingerprint == first.fingerprint


@pytest.mark.parametrize("fault", ["host", "old", "damaged", "key"])
def test_it_is_made_anew_where_it_would_not_do(tmp_path: Path, fault: str) -> None:
    first = tls.self_signed(tmp_path, HOSTS)
    hosts, spare_days = HOSTS, tls.SPARE_DAYS
    if fault == "host":
        hosts = (*HOSTS, "192.168.7.7")
    elif fault == "old":
        spare_days = tls.DAYS + 1
    elif fault == "damaged":
        first.certificate.write_text("nonsense")
    else:
        first.key.write_bytes(tls.self_signed(tmp_path / "other", HOSTS).key.read_bytes())
    assert tls.self_signed(tmp_path, hosts, spare_days).fingerprint != first.fingerprint


def test_own_hosts_begin_with_localhost_and_hold_no_twin() -> None:
    hosts = tls.own_hosts()
    assert hosts[0] == "localhost"
    assert socket.gethostname() in hosts
    assert len(hosts) == len(set(hosts))


def test_a_name_that_is_too_long_for_a_domain_is_a_host_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux allows 64 bytes of a machine's name, and domains 63."""
    monkeypatch.setattr(socket, "gethostname", lambda: 64 * "a")
    assert 64 * "a" in tls.own_hosts()


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As of a container, whose number is in no list of users."""
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(FacetError, match="set XDG_STATE_HOME"):
        tls.folder()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert tls.folder() == tmp_path / "facet"


@pytest.mark.parametrize(
    ("hosts", "address"),
    [
        (("localhost", "127.0.0.1", "::1", "kitchen", "192.168.1.20", "10.0.0.3"), "192.168.1.20"),
        (("localhost", "127.0.0.1", "::1", "kitchen", "169.254.7.7"), None),
    ],
)
def test_phones_are_sent_to_an_address_of_the_network(hosts: tuple[str, ...], address: str | None) -> None:
    assert tls.network_address(hosts) == address


def test_the_qr_code_is_of_the_address() -> None:
    """Read back by OpenCV from its half blocks, of which a full one is two light modules."""
    pytest.importorskip("segno")
    code = tls.qr_code("https://192.168.1.20:8000")
    assert code is not None
    lines = [line.removeprefix(tls.WHITE_ON_BLACK).removesuffix(tls.PLAIN) for line in code.splitlines()]
    halves = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}
    modules = np.array([[halves[one][half] for one in line] for line in lines for half in (0, 1)], np.uint8)
    picture = np.kron(modules, np.ones((8, 8), np.uint8))
    assert cv2.QRCodeDetector().detectAndDecode(picture)[0] == "https://192.168.1.20:8000"


def test_without_the_package_there_is_no_qr_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert tls.qr_code("https://192.168.1.20:8000") is None


def test_a_certificate_and_its_key_go_together() -> None:
    with pytest.raises(ValidationError, match="go together"):
        Settings(tls_certificate=Path("a.pem"))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", "FACET_TLS_KEY: {key} cannot be read"),
        ("encrypted", "FACET_TLS_KEY: {key} wants a pass phrase"),
        ("other", "{key} is the key of another certificate"),
        ("nonsense", "with {key} OpenSSL says "),
    ],
)
def test_files_that_are_of_no_use_are_said_before_a_model_is_loaded(tmp_path: Path, fault: str, words: str) -> None:
    made = tls.self_signed(tmp_path, HOSTS)
    if fault == "missing":
        made.key.unlink()
    elif fault == "encrypted":
        serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
        plain = serialization.load_pem_private_key(made.key.read_bytes(), None)
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        made.key.write_bytes(plain.private_bytes(*form, serialization.BestAvailableEncryption(b"words")))
    elif fault == "other":
        made.key.write_bytes(tls.self_signed(tmp_path / "other", HOSTS).key.read_bytes())
    else:
        made.key.write_text("nonsense")
    done = subprocess.run(
        [sys.executable, "-c", "import service.cli; service.cli.main(service.cli.Parts(lambda settings: 1 / 0))", "serve"],
        cwd=ROOT,
        env={"FACET_TLS_CERTIFICATE": str(made.certificate), "FACET_TLS_KEY": str(made.key)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert words.format(key=made.key) in done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("given", [False, True], ids=["own", "given"])
def test_https_is_spoken_by_one_command(tmp_path: Path, given: bool) -> None:
    port, log = free_port(), tmp_path / "log"
    own = tmp_path / "facet"
    environment = {"SLOW": "0", "XDG_STATE_HOME": str(tmp_path), "FACET_DRAIN_DELAY_S": "0"}
    arguments = ["--tls"]
    if given:
        made = tls.self_signed(own, tls.own_hosts())
        environment |= {"FACET_TLS_CERTIFICATE": str(made.certificate), "FACET_TLS_KEY": str(made.key)}
        arguments = []
    command = [sys.executable, "-c", FAKE, "serve", "--host", "127.0.0.1", "--port", str(port), *arguments]
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream) as process,
    ):
        try:
            certificate = own / "certificate.pem"
            answer = answered(f"https://localhost:{port}/health", certificate, log, process)
            assert answer.json()["status"] == "ok"
            settings = {"FACET_PORT": str(port)} | ({} if given else {"FACET_TLS": "true"})
            asked = subprocess.run(
                [sys.executable, "-m", "service.server.healthcheck"],
                cwd=ROOT,
                env=environment | settings,
                timeout=20,
                check=False,
            )
            assert asked.returncode == 0, "the container's health check speaks it too"
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"https://localhost:{port}/health")
        finally:
            process.terminate()
    assert process.returncode == 0, log.read_text()
    assert (f"https://localhost:{port}" in log.read_text()) or given


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_connections_that_are_silent_before_their_handshake_keep_nobody_out(tmp_path: Path, loop: str) -> None:
    """Each may be silent for a minute; a request in the same packet as the end of the handshake is answered, too."""
    made = tls.self_signed(tmp_path, tls.own_hosts())
    log, program = tmp_path / "log", FAKE if loop == "uvloop" else f"import sys; sys.modules['uvloop'] = None\n{FAKE}"
    environment = {
        "SLOW": "0",
        "FACET_TLS_CERTIFICATE": str(made.certificate),
        "FACET_TLS_KEY": str(made.key),
        "FACET_HEAD_TIMEOUT_S": "60",
        "FACET_MAX_CONNECTIONS": "20",
    }
    with started(log, sys.executable, "-c", program, **environment) as service, ExitStack() as stack:
        silent = [stack.enter_context(service.connected()) for _ in range(60)]
        context = ssl.create_default_context(cafile=str(made.certificate))
        with service.connected() as connection:
            connection.settimeout(50)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            connection.sendall(outgoing.read())
            while True:
                incoming.write(connection.recv(65536))
                with suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                    break
            client.write(head("/health", "GET", Connection="close"))
            connection.sendall(outgoing.read())
            answer = b""
            while b"\r\n\r\n" not in answer:
                incoming.write(connection.recv(65536))
                with suppress(ssl.SSLWantReadError):
                    answer += client.read(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        closed = 0
        for one in silent:
            one.settimeout(0.2)
            with suppress(TimeoutError):
                closed += one.recv(1) == b""
        assert 40 <= closed < 60, "the oldest made room"
    assert "Traceback" not in service.log


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_client_that_keeps_an_idle_connection_holds_no_end_up(tmp_path: Path, loop: str) -> None:
    """Most that keep connections in a pool read nothing from them between two requests, and so do not say that they close."""
    made = tls.self_signed(tmp_path, tls.own_hosts())
    program = FAKE if loop == "uvloop" else f"import sys; sys.modules['uvloop'] = None\n{FAKE}"
    environment = {"SLOW": "0", "FACET_TLS_CERTIFICATE": str(made.certificate), "FACET_TLS_KEY": str(made.key)}
    environment |= {"FACET_DRAIN_DELAY_S": "0"}
    context = ssl.create_default_context(cafile=str(made.certificate))
    with (
        started(tmp_path / "log", sys.executable, "-c", program, **environment) as service,
        service.connected() as connection,
        context.wrap_socket(connection, server_hostname="localhost") as client,
    ):
        client.sendall(head("/health", "GET"))
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        service.process.terminate()
        assert service.process.wait(timeout=10) == 0
        assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"}")  # closed, and not cut off
    assert "timeout" not in service.log


def test_a_renewed_certificate_is_served_after_sighup_and_one_of_no_use_is_not(tmp_path: Path) -> None:
    made, other = tls.self_signed(tmp_path / "served", HOSTS), tls.self_signed(tmp_path / "renewed", HOSTS)
    first, second = made.certificate.read_text(), other.certificate.read_text()
    environment = {"SLOW": "0", "FACET_TLS_CERTIFICATE": str(made.certificate), "FACET_TLS_KEY": str(made.key)}
    with started(tmp_path / "log", sys.executable, "-c", FAKE, **environment) as service:

        def served_after(words: str, times: int = 1) -> str:
            """The certificate that a new connection gets once the log says so."""
            service.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 20
            while service.log.count(words) < times and time.monotonic() < end:
                time.sleep(0.02)
            assert service.log.count(words) == times
            return ssl.get_server_certificate(("127.0.0.1", service.port), timeout=20)

        assert ssl.get_server_certificate(("127.0.0.1", service.port), timeout=20) == first
        made.certificate.write_text(second)
        assert served_after("is the key of another certificate") == first
        made.key.write_bytes(other.key.read_bytes())
        assert served_after("read anew") == second
        write_rsa(made.certificate, made.key)  # of another kind, beside which the former one could go on
        assert served_after("read anew", 2) == made.certificate.read_text()


def write_rsa(certificate: Path, key: Path) -> None:
    """A certificate as an authority's that still signs RSA keys alone."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1).public_key(secret.public_key())
    now = datetime.now(UTC)
    made = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(secret, hashes.SHA256())
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(made.public_bytes(Encoding.PEM))


def answered(url: str, certificate: Path, log: Path, process: subprocess.Popen[bytes]) -> httpx.Response:
    """The answer of a service that starts, checked by its certificate."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            return httpx.get(url, verify=ssl.create_default_context(cafile=str(certificate)))
        except (httpx.ConnectError, OSError):
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_without_the_package_the_error_is_one_line(tmp_path: Path) -> None:
    program = f"import sys; sys.modules['cryptography'] = None\n{FAKE}"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--tls"],
        cwd=ROOT,
        env={"SLOW": "0", "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "make extra EXTRA=tls" in done.stderr
    assert done.stderr.count("\n") == 1
