"""Boots a systemd of its own for a test: systemd-nspawn on this machine's /usr.

The container has its own processes, mounts, network (loopback alone), /etc, /var and /opt. Its
/usr is this machine's, read-only, so nothing is downloaded and a boot takes a second. Every step
has a time limit, and no process, mount, control group or folder remains.

`python -m tests.systemd.container` tries a boot, and prints why it fails if it does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LIFE_S = 600
"""No container lives longer than this, whatever happens to the tests."""
BOOT_S = 60
END_S = 30
COMMAND_S = 90
"""The longest that a command, or a wait for a line of the journal, may take."""
FOLDERS = (
    *("usr", "var", "opt", "root", "proc", "sys", "dev", "run", "tmp"),
    *("etc/systemd/system", "etc/tmpfiles.d"),
)
TOOLS = ("systemd-nspawn", "nsenter", "setpriv", "timeout", "dbus-daemon", "curl")
ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb")
SANDBOX = (
    "-p PrivateUsers=yes -p PrivateDevices=yes -p ProtectSystem=strict -p ProtectProc=invisible "
    "-p MemoryDenyWriteExecute=yes -p SystemCallFilter=@system-service "
    "-p LoadCredential=probe:/etc/machine-id"
)
"""The systemd features that our units use and that some containers lack."""


class CannotBoot(Exception):
    """This machine cannot boot a container; the sentence says why."""


@dataclass(frozen=True)
class Machine:
    """A booted container."""

    init: int
    """The number of its first process on this machine."""
    root: Path
    """The path of its root folder on this machine; /usr, /run and /tmp are not in it."""

    @property
    def network(self) -> list[str]:
        """The command prefix that runs a process of this machine in the container's network."""
        return ["nsenter", f"--target={self.init}", "--net", "--"]

    def run(self, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a bash script as the container's root, to its end or for COMMAND_S."""
        inside = ["nsenter", f"--target={self.init}", "--all", "--", "env", "-i", *ENVIRONMENT]
        inside += ["timeout", "--kill-after=5", str(COMMAND_S), "bash", "-euo", "pipefail", "-c"]
        return subprocess.run(
            [*inside, script], input=stdin, capture_output=True, text=True, timeout=COMMAND_S + 10
        )

    def ask(self, script: str, stdin: str = "") -> str:
        """The output of a script; a failure is an AssertionError with all its output."""
        done = self.run(script, stdin)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def show(self, unit: str, field: str) -> str:
        """A property of a unit."""
        return self.ask(f"systemctl show --value --property={field} {unit}").strip()

    def now(self) -> str:
        """The journal's end; `until` reads from there."""
        shown = self.ask("journalctl --quiet --lines=0 --show-cursor")
        return shown.strip().removeprefix("-- cursor: ")

    def until(self, unit: str, since: str, *wanted: str) -> str:
        """Follow a unit's journal to a line with all these words, and return that line."""
        follow = ["journalctl", "--quiet", "--follow", "--no-tail", "--output=cat"]
        follow += [f"--after-cursor={since}", f"--unit={unit}"]
        command = ["nsenter", f"--target={self.init}", "--all", "--"]
        command += ["timeout", "--kill-after=5", str(COMMAND_S), *follow]
        lines = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            try:
                for line in reader.stdout or ():
                    lines.append(line)
                    if all(word in line for word in wanted):
                        return line
            finally:
                reader.kill()
        raise AssertionError(f"{unit} did not say {wanted}, but:\n{''.join(lines[-40:])}")


@contextmanager
def boot(binds: Mapping[Path, str]) -> Iterator[Machine]:
    """Boot a container with these folders of ours, read-only. Raises CannotBoot."""
    missing = [name for name in TOOLS if shutil.which(name, path=f"{os.defpath}:/sbin") is None]
    if os.geteuid() != 0:
        raise CannotBoot("only root may boot a container")
    if missing:
        raise CannotBoot(f"{', '.join(missing)} absent")
    _same_python()
    tree = Path(tempfile.mkdtemp(prefix="cohortd-boot-"))
    try:
        root = tree / "root"
        _plant(root, binds)
        with _cgroup(tree.name) as enter:
            yield from _booted(tree, root, binds, enter)
    finally:
        # Mounts belong to the container alone; a shared one would delete this machine's files.
        if str(tree) not in Path("/proc/self/mountinfo").read_text():
            shutil.rmtree(tree)


def _same_python() -> None:
    """Check that the packages of our environment fit the container's python3."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = subprocess.run(
        ["/usr/bin/python3", "-c", "import ensurepip, sys; print(*sys.version_info[:2], sep='.')"],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.stdout.strip() != ours:
        raise CannotBoot(f"/usr/bin/python3 is not {ours} with its venv module")


def _plant(root: Path, binds: Mapping[Path, str]) -> None:
    """Make the folders that the container starts from; systemd makes users and the rest."""
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    for inside in binds.values():
        (root / inside.lstrip("/")).mkdir(parents=True)
    for link in Path("/").iterdir():
        if link.is_symlink() and os.readlink(link).lstrip("/").startswith("usr/"):
            (root / link.name).symlink_to(os.readlink(link).lstrip("/"))
    if not (root / "bin").is_symlink():
        raise CannotBoot("this machine's /bin is not a part of /usr")
    shutil.copy("/usr/lib/os-release", root / "etc/os-release")
    if Path("/etc/ld.so.cache").is_file():
        shutil.copy("/etc/ld.so.cache", root / "etc/ld.so.cache")
    # Empty, not missing: a first boot would enable every unit of this machine's /usr.
    (root / "etc/machine-id").touch()


@contextmanager
def _cgroup(name: str) -> Iterator[list[str]]:
    """Shell lines that put a process into a control group, if no systemd makes one."""
    if Path("/run/systemd/system").is_dir():
        yield []
        return
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    made = [
        Path(at) / name
        for _, at, kind, options, *_ in mounts
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options)
    ]
    try:
        try:
            for folder in made:
                folder.mkdir()
        except OSError as error:
            raise CannotBoot(f"no control group of its own here: {error}") from None
        yield [f"echo $$ > {folder}/cgroup.procs" for folder in made]
    finally:
        for folder in made:
            for below, _, _ in os.walk(folder, topdown=False):
                with suppress(OSError):
                    os.rmdir(below)


def _booted(
    tree: Path, root: Path, binds: Mapping[Path, str], enter: list[str]
) -> Iterator[Machine]:
    command = ["setpriv", "--pdeathsig=TERM", "timeout", "--kill-after=10", str(LIFE_S)]
    command += ["systemd-nspawn", f"--directory={root}", f"--machine=cohortd-{os.getpid()}"]
    command += ["--boot", "--notify-ready=yes", "--kill-signal=SIGKILL", "--quiet"]
    command += ["--register=no", "--private-network"]
    command += ["--console=read-only", "--link-journal=no", "--resolv-conf=off", "--timezone=off"]
    command += ["--bind-ro=/usr", *(f"--bind-ro={ours}:{at}" for ours, at in binds.items())]
    if enter:
        command.append("--keep-unit")
    shell = ["sh", "-ec", "\n".join([*enter, 'exec "$@"']), "sh"]
    with (tree / "console").open("wb") as console:
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.bind(str(tree / "notify"))
        child = subprocess.Popen(
            [*shell, *command],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NOTIFY_SOCKET": str(tree / "notify")},
        )
        init = 0
        try:
            # Closed after the message: an unread socket would fill up and block the container.
            with ear:
                init = _ready(child, ear, tree / "console")
            machine = Machine(init, root)
            _sandboxes(machine)
            yield machine
        finally:
            _end(child, init)


def _end(child: subprocess.Popen[bytes], init: int) -> None:
    """Kill the container's first process, and so all, and let systemd-nspawn clean up."""
    if init and child.poll() is None:
        os.kill(init, signal.SIGKILL)
    else:
        child.terminate()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        raise


def _ready(child: subprocess.Popen[bytes], ear: socket.socket, console: Path) -> int:
    """The number of the container's first process, once it has booted."""
    ear.settimeout(BOOT_S / 60)
    init = 0
    for _ in range(60):
        if child.poll() is not None:
            break
        with suppress(TimeoutError):
            said = ear.recv(4096).decode()
            leader = re.search(r"^X_NSPAWN_LEADER_PID=(\d+)", said, re.MULTILINE)
            init = int(leader[1]) if leader else init
            if init and re.search("^READY=1", said, re.MULTILINE):
                return init
    last = " / ".join(console.read_text(errors="replace").split("\n")[-6:]).strip(" /")
    raise CannotBoot(f"systemd-nspawn does not boot here: {last or 'it says nothing'}")


def _sandboxes(machine: Machine) -> None:
    """Raise CannotBoot if the booted systemd cannot confine a service as our units ask."""
    done = machine.run(f"systemd-run --quiet --wait --pipe --collect {SANDBOX} /bin/true")
    if done.returncode != 0:
        said = " / ".join(done.stderr.split("\n")).strip(" /")
        raise CannotBoot(f"a container boots here, but cannot confine a service: {said}")


if __name__ == "__main__":
    try:
        with boot({}) as booted:
            print("boots:", booted.ask("systemctl --version").splitlines()[0])
    except CannotBoot as error:
        sys.exit(str(error))
