#!/usr/bin/env python3
"""Run a command with a Docker engine: `.ci/with_docker.py make test`.

Where one answers, the command gets that one, and images come from its registries. Where none does, on Debian and as root, one
is started for the command alone, out of Debian's packages, and stopped after it. It reaches no registry: stand-ins take the
names of the images that the Dockerfile and docker-compose.yml ask for, Debian's Python for the one, Debian's Prometheus for the
other; Grafana has none. Where neither can be had, one line says why, and the command runs without.

The command begins as soon as the engine answers. While the images are being made there is a file, which `ENGINE_PENDING`
names.

The engine changes nothing of the machine's network (no bridge of its own, no firewall rules), and keeps all it has in one
temporary folder.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = "/usr/sbin:/usr/bin:/sbin:/bin"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

HOOK = """#!/bin/sh
set -eu
# As the official image has them.
rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf /usr/bin/python3 "$1/usr/local/bin/python"
ln -sf /usr/bin/python3 "$1/usr/local/bin/python3"
ln -sf /usr/bin/pip3 "$1/usr/local/bin/pip"
# As the official image has not.
rm -rf "$1"/usr/share/doc "$1"/usr/share/locale "$1"/usr/share/man "$1"/usr/share/perl "$1"/usr/lib/*/libperl.so*
# The way to the package registry is that of this machine.
cp -L "{bundle}" "$1{target}"
cp "{pip}" "$1/etc/pip.conf"
"""

STAND_IN = """FROM {base}
COPY bin/ /usr/bin/
COPY share/ /usr/share/prometheus/
COPY --chown=65534:65534 data/ /{called}/
USER 65534:65534
ENTRYPOINT ["/bin/{called}"]
"""


class Unavailable(Exception):
    """No engine can be had, for the reason that it says."""


def say(line: str) -> None:
    """Write a line for whoever reads the log, at once."""
    sys.stderr.write(f"with_docker: {line}\n")
    sys.stderr.flush()


def call(*command: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a command prints. Raises `Unavailable`, with the end of what it complains of, where it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise Unavailable(f"{words[0]}: {error.strerror}") from error
    if done.returncode:
        raise Unavailable(f"{words[0]} failed: {' '.join(done.stderr.split())[-300:] or done.returncode}")
    return done.stdout


def answers(docker: str, env: Mapping[str, str]) -> bool:
    """Whether an engine answers this client."""
    try:
        return subprocess.run([docker, "version"], env=env, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def install() -> None:
    """Debian's engine and what makes a Debian root file system, where they are not here."""
    if os.name != "posix" or os.geteuid() != 0:
        raise Unavailable("no engine answers, and only root can start one")
    wanted = [name for name, program in (("docker.io", "dockerd"), ("mmdebstrap", "mmdebstrap")) if not which(program)]
    if not wanted:
        return
    if not which("apt-get"):
        raise Unavailable("no engine answers, and there is no apt-get to install one with")
    say(f"installing {' and '.join(wanted)}")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    call("apt-get", "update", "-qq", env=quiet)
    call("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *wanted, env=quiet)


def which(program: str) -> str | None:
    """Debian's own program: others may come earlier on the PATH."""
    return shutil.which(program, path=DEBIAN)


def start(folder: Path) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """An engine that keeps all it has in a folder, and the environment in which clients find it."""
    engine, client = which("dockerd"), which("docker")
    if engine is None or client is None:
        raise Unavailable("Debian's docker.io brought no engine")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "docker").symlink_to(client)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(engine, "--host", f"unix://{folder / 'socket'}", "--pidfile", folder / "pid"),
                *("--data-root", folder / "data", "--exec-root", folder / "exec"),
                *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"),
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PATH": f"{DEBIAN}:{os.environ['PATH']}"},
            start_new_session=True,  # Ctrl+C is for the command; the engine is stopped after it
        )
    env = os.environ | {
        "DOCKER_HOST": f"unix://{folder / 'socket'}",
        "DOCKER_BUILDKIT": "1",
        "DOCKER_CONFIG": str(folder / "config"),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    end = time.monotonic() + 60
    while not answers(client, env):
        if process.poll() is not None or time.monotonic() > end:
            stop(process)
            raise Unavailable(f"the engine did not start: {(folder / 'log').read_text()[-300:].strip()}")
        time.sleep(0.2)
    return process, env


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the engine, and with it whatever runs in it."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def pip_configuration() -> str:
    """This machine's way to its registry, as a pip.conf for another file system: nothing that names a place on this one.

    Read as pip reads it, files first and the environment over them: whoever has no environment yet may have no pip either.
    """
    files = configparser.ConfigParser(interpolation=None)
    home = Path.home()
    named = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    files.read([*named, *filter(None, [os.environ.get("PIP_CONFIG_FILE")])])
    lines = ["[global]", f"cert = {BUNDLE}"]
    for option in ("index-url", "extra-index-url", "trusted-host", "proxy"):
        value = os.environ.get(f"PIP_{option.upper().replace('-', '_')}", files.get("global", option, fallback=""))
        places = [place for place in value.split() if not place.startswith(("/", "file:"))]
        if places:
            lines.append(f"{option} = {' '.join(places)}")
    return "\n".join(lines) + "\n"


def python_image(folder: Path, env: Mapping[str, str]) -> str:
    """Debian's Python under the name of the Dockerfile's base; that name."""
    base = re.search(r"^FROM (\S+) AS official$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    if base is None:
        raise Unavailable("the Dockerfile names no base")
    suite = base[1].rpartition("-")[2]
    say(f"making a stand-in for {base[1]} of Debian {suite}'s packages")
    (folder / "pip.conf").write_text(pip_configuration())
    bundle = next((path for path in (os.environ.get("PIP_CERT"), os.environ.get("SSL_CERT_FILE")) if path), str(BUNDLE))
    hook = folder / "hook"
    hook.write_text(HOOK.format(bundle=bundle, target=BUNDLE, pip=folder / "pip.conf"))
    hook.chmod(0o755)
    archive = folder / "base.tar"
    call(
        *("mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io"),
        *("--include=ca-certificates,python3,python3-pip,python3-venv", f"--customize-hook={hook}", suite, archive),
        env=env | {"PATH": f"{DEBIAN}:{env['PATH']}"},
    )
    path = f"ENV PATH=/usr/local/bin:{DEBIAN}"
    call("docker", "import", "--change", path, "--change", 'CMD ["python3"]', archive, base[1], env=env)
    archive.unlink()
    return base[1]


MONITORING = {
    "prom/prometheus": ("prometheus", "prometheus", "promtool", "prometheus"),
    "prom/alertmanager": ("prometheus-alertmanager", "prometheus-alertmanager", "amtool", "alertmanager"),
}
"""Images of docker-compose.yml by name: Debian's package of each, its program, the checker beside it, and what it is called."""


def image_of(name: str) -> str:
    """An image of docker-compose.yml with its tag."""
    found = re.search(rf"^ +image: ({name}:\S+)", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    if found is None:
        raise Unavailable(f"docker-compose.yml names no {name}")
    return found[1]


def monitoring_image(name: str, folder: Path, base: str, env: Mapping[str, str]) -> None:
    """Debian's Prometheus or Alertmanager, with BusyBox's wget beside it as in the real image, and under its name."""
    package, program, checker, called = MONITORING[name]
    image = image_of(name)
    say(f"making a stand-in for {image} of Debian's package")
    context = folder / called
    (context / "bin").mkdir(parents=True)
    (context / "data").mkdir()
    call("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package, "busybox-static", cwd=context)
    for archive in context.glob("*.deb"):
        call("dpkg-deb", "--extract", archive, context / "x")
    shutil.copy(context / "x/usr/bin" / program, context / "bin" / called)
    shutil.copy(context / "x/usr/bin" / checker, context / "bin")
    shutil.copy(context / "x/bin/busybox", context / "bin/wget")
    # The real program has its templates built in; Debian's reads them at its start.
    templates = context / "x/usr/share/prometheus/alertmanager"
    (context / "share").mkdir()
    if templates.is_dir():
        shutil.copytree(templates, context / "share/alertmanager")
    (folder / "bin" / checker).symlink_to(context / "bin" / checker)
    (context / "Dockerfile").write_text(STAND_IN.format(base=base, called=called))
    (context / ".dockerignore").write_text("x\n*.deb\n")
    call("docker", "build", "--quiet", "--tag", image, context, env=env)


def checkers(folder: Path) -> None:
    """Copy promtool and amtool out of their images, where an engine answers and they are not installed."""
    for name, (_, _, checker, _) in MONITORING.items():
        if shutil.which(checker) is not None:
            continue
        try:
            created = call("docker", "create", image_of(name)).strip()
            call("docker", "cp", f"{created}:/bin/{checker}", folder)
            call("docker", "rm", created)
        except Unavailable as error:
            say(f"{checker} cannot be had of {name}'s image: {error}")


def images(folder: Path, env: Mapping[str, str], pending: Path) -> None:
    """Make the images that are asked for, and say by the file's absence that they are made, or cannot be."""
    try:
        base = python_image(folder, env)
        for image in MONITORING:
            monitoring_image(image, folder, base, env)
    except Unavailable as reason:
        say(f"{reason}; the tests of the container are skipped")
    finally:
        pending.unlink()


def main(command: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    if not command:
        sys.stderr.write(f"usage: {sys.argv[0]} COMMAND...\n")
        return 2
    if answers("docker", os.environ):
        with tempfile.TemporaryDirectory(prefix="checkers-") as name:
            checkers(Path(name))
            return subprocess.run(command, env=os.environ | {"PATH": f"{os.environ['PATH']}:{name}"}, check=False).returncode
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(1))  # so that what follows is undone
    with tempfile.TemporaryDirectory(prefix="docker-", ignore_cleanup_errors=True) as name:
        folder, process, making, env = Path(name), None, None, dict(os.environ)
        try:
            try:
                install()
                process, env = start(folder)
                pending = folder / "pending"
                pending.touch()
                making = threading.Thread(target=images, args=(folder, env, pending))
                making.start()
                env = env | {"ENGINE_PENDING": str(pending)}
            except Unavailable as reason:
                say(f"{reason}; the tests of the container are skipped")
            return subprocess.run(command, env=env, check=False).returncode
        finally:
            if making is not None:
                making.join()
            if process is not None:
                stop(process)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
