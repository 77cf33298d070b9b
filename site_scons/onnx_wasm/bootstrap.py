"""What sconsw runs when something is missing: the set-up, and the doctor that tells what is there.

The set-up makes ``.venv`` from a lock file and has apt install the rest where it may. Its last act is to put a copy of
the lock file into ``.venv``; sconsw compares that copy, so a set-up that was killed is done again from the start.

Everything here is standard library: it runs before there is a ``.venv``.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from onnx_wasm import remedies, toolchain
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.toolchain import CRATES_FOLDER, PACKAGES, Missing, Survey

FAILED = 2
INTERRUPTED = 130
LOCK_FILES = {"build": "requirements.lock", "full": "requirements-full.lock", "dev": "requirements-dev.lock"}
"""The lock file of each profile, from the smallest: what one pins, those after it pin too."""

_VENV_MODULES = ("venv", "ensurepip")
_PIP_INSTALL = ("-m", "pip", "install", "--require-hashes", "--no-deps", "--only-binary=:all:", "--quiet", "--no-input")
_APT_GET = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends")
_APT_LISTS_LOCK = "/var/lib/apt/lists/lock"
_APT_LISTS_PATIENCE = 60
# Unpacked, failed to configure, half installed: dpkg-query(1).
_DPKG_HALF_INSTALLED = re.compile(r"^.[UFH].? (\S+)$", re.MULTILINE)
_LINES_OF_LOG = 20


def main() -> None:
    """Runs ``doctor``, or ``setup`` and a profile, and ends the process: 0, or 2 if something is missing."""
    command, *arguments = sys.argv[1:]
    checkout = Checkout(Path(__file__).resolve().parents[2])
    try:
        if command == "doctor":
            sys.exit(doctor(checkout))
        setup(checkout, *arguments)
    except BuildError as error:
        _say(f"the set-up is not complete\n{error}")
        sys.exit(FAILED)
    except OSError as error:
        _say(f"the set-up is not complete\n{error.filename}: {error.strerror}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@dataclass(frozen=True)
class Checkout:
    """A working copy of this repository, and how far its set-up has come."""

    top: Path

    @property
    def venv(self) -> Path:
        return self.top / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    def lock_file(self, profile: str) -> Path:
        """What a profile asks for."""
        return self.top / LOCK_FILES[profile]

    def stamp(self, profile: str) -> Path:
        """The copy of the lock file that says ``.venv`` holds what it asks for."""
        return self.venv / LOCK_FILES[profile]

    def has(self, profile: str) -> bool:
        """Whether ``.venv`` holds what a profile asks for."""
        stamp = self.stamp(profile)
        return self.python.exists() and stamp.exists() and stamp.read_bytes() == self.lock_file(profile).read_bytes()

    def survey(self) -> Survey:
        """What there is of the toolchain."""
        return toolchain.survey(prefix=self.venv)


def doctor(checkout: Checkout) -> int:
    """Prints what was found, where and in which version, and what is missing with the command that brings it.

    Returns:
        The exit status: 0 if everything a build needs is there, else 2.
    """
    survey = checkout.survey()
    profiles = [profile for profile in LOCK_FILES if checkout.has(profile)]
    rows = [(tool.name, tool.version, " ".join(tool.command)) for tool in survey.found.values()]
    if "crates" not in {**survey.found, **survey.missing}:
        rows.append(("crates", "as locked", "crates.io, when they are needed"))
    if profiles:
        rows.append((".venv", " and ".join(profiles), str(checkout.venv)))
    for name, missing in survey.missing.items():
        rows.append((name, "missing", "./sconsw setup" if name in PACKAGES else toolchain.hint(name, missing)))
    if not profiles:
        rows.append((".venv", "missing", "./sconsw setup"))
    name_width, version_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, version, where in rows:
        line = f"{name:{name_width}}  {version:{version_width}}  {where}\n"
        sys.stdout.write(f"\033[31m{line}\033[0m" if version == "missing" and sys.stdout.isatty() else line)
    return FAILED if survey.missing or not profiles else 0


def setup(checkout: Checkout, profile: str) -> None:
    """Makes everything there that a profile needs, and on failure leaves nothing half made.

    Args:
        checkout: Where.
        profile: A key of ``LOCK_FILES``.

    Raises:
        BuildError: Something is missing that only the user can bring, or apt, pip or cargo failed.
    """
    if profile not in LOCK_FILES:
        raise BuildError(Problem(f"./sconsw setup {profile}", "no such profile", f"one of: {', '.join(LOCK_FILES)}"))
    _refuse_what_apt_cannot_bring(_lacking(checkout))
    with _alone(checkout) as lock:
        started = time.monotonic()
        lacking = _lacking(checkout)
        _refuse_what_apt_cannot_bring(lacking)
        if "venv" in lacking:  # pip waits for this one; then it works while apt does
            _apt_install(["venv"])
        programs = [name for name in lacking if name != "venv"]
        with _whole_venv(checkout, profile) as incomplete, ThreadPoolExecutor() as pool:
            tasks = [pool.submit(_apt_install, programs)] if programs else []
            if _may_apt():
                tasks.append(pool.submit(_apt_install_optional, profile, after=tasks[:]))
            if incomplete:
                tasks.append(pool.submit(_install_packages, checkout, profile, lock))
            for task in tasks:
                task.result()
            _vendor_crates(checkout)
            _refuse(_lacking(checkout))
        _say(f"the set-up is complete ({time.monotonic() - started:.0f} s)")


def _lacking(checkout: Checkout) -> dict[str, Missing]:
    """The missing programs. Packaged crates count where apt brings them, or is asked for something anyway."""
    survey = checkout.survey()
    lacking = {name: missing for name, missing in survey.missing.items() if name not in PACKAGES}
    if any(importlib.util.find_spec(module) is None for module in _VENV_MODULES):
        lacking["venv"] = Missing(f"{sys.executable} lacks the module ensurepip")
    if "crates" not in {**survey.found, **lacking} and shutil.which("apt-get") and (lacking or _may_apt()):
        lacking["crates"] = Missing("no packages of the wrapper's crates")
    return {**_half_installed(), **lacking} if _may_apt() else lacking


def _half_installed() -> dict[str, Missing]:
    """The tools whose package an interrupted apt did not configure: the program may be there all the same."""
    packages = remedies.apt_packages(remedies.APT_PACKAGES)
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package}\n", *packages]
    answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    half = set(_DPKG_HALF_INSTALLED.findall(answer))
    return {
        tool: Missing(f"{' '.join(sorted(half.intersection(packages)))} only half installed")
        for tool, packages in remedies.APT_PACKAGES.items()
        if half.intersection(packages)
    }


def _may_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _refuse_what_apt_cannot_bring(lacking: Mapping[str, Missing]) -> None:
    _refuse({name: missing for name, missing in lacking.items() if missing.variable or not _may_apt()})


def _refuse(lacking: Mapping[str, Missing]) -> None:
    """Raises BuildError if anything is lacking: what, and the commands that bring it all."""
    wrong = {name: missing for name, missing in lacking.items() if missing.variable}
    problems = [
        Problem(f"toolchain: {name}", missing.reason, toolchain.hint(name, missing) if name in wrong else "")
        for name, missing in lacking.items()
    ]
    commands = remedies.commands([name for name in lacking if name not in wrong])
    if commands:
        problems.append(Problem("sconsw", "these commands bring what is missing", "\n    ".join(commands)))
    if problems:
        raise BuildError(problems)


@contextlib.contextmanager
def _alone(checkout: Checkout) -> Iterator[int]:
    """Holds the checkout's lock, and gives its descriptor.

    Whoever inherits it holds the lock too: if this process is killed, the next one waits for an orphaned pip.
    """
    with (checkout.top / ".venv.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for the set-up that is already running here")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@contextlib.contextmanager
def _whole_venv(checkout: Checkout, profile: str) -> Iterator[bool]:
    """Gives whether ``.venv`` lacks the profile, and sees to it that at the end it is whole or not there.

    A ``.venv`` with a smaller profile is kept for this one to be added. Should that fail, it is as good as it was if
    pip did not come to installing anything; otherwise it goes.
    """
    if checkout.has(profile):
        yield False
        return
    stamps = {name: checkout.lock_file(name).read_bytes() for name in _up_to(profile)}
    added_to = [name for name in stamps if checkout.has(name)]
    for name in added_to:
        checkout.stamp(name).unlink()
    if not added_to and checkout.venv.exists():
        shutil.rmtree(checkout.venv)
    before = _installed(checkout)
    try:
        yield True
    except BaseException:
        if added_to and _installed(checkout) == before:
            _stamp(checkout, {name: stamps[name] for name in added_to})
        else:
            shutil.rmtree(checkout.venv, ignore_errors=True)
        raise
    _stamp(checkout, stamps)


def _up_to(profile: str) -> list[str]:
    """A profile and all smaller ones, from the smallest."""
    names = list(LOCK_FILES)
    return names[: names.index(profile) + 1]


def _stamp(checkout: Checkout, stamps: dict[str, bytes]) -> None:
    """Says that ``.venv`` holds these profiles; last of all the smallest, without which none counts."""
    for name in reversed(stamps):
        _write_whole(checkout.stamp(name), stamps[name])


def _installed(checkout: Checkout) -> set[str]:
    return {path.name for path in checkout.venv.glob("lib/python3.*/site-packages/*")}


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def _install_packages(checkout: Checkout, profile: str, lock: int) -> None:
    _say(f"installing Python packages into {checkout.venv.name} from {checkout.lock_file(profile).name}")
    if not checkout.python.exists():
        # Named by its version, this Python leaves a dangling link when the system goes on to another: sconsw sees that.
        interpreter = Path(sys.executable).resolve()
        _run("venv", [str(interpreter), "-I", "-m", "venv", str(checkout.venv)], keep=lock)
    _run("pip", [str(checkout.python), "-I", *_PIP_INSTALL, "-r", str(checkout.lock_file(profile))], keep=lock)


def _apt_install(tools: Iterable[str]) -> None:
    """Installs packages; updates apt's lists only if it does not know them, or could not install them as they stand."""
    packages = remedies.apt_packages(tools)
    install = [*_APT_GET, "install", *packages]
    _say(f"installing with apt: {' '.join(packages)}")
    known = subprocess.run(["apt-cache", "show", *packages], capture_output=True, check=False).returncode == 0
    if known and subprocess.run(install, capture_output=True, env=_environment(), check=False).returncode == 0:
        return
    _run("dpkg", ["dpkg", "--configure", "-a"])  # what an earlier set-up left when it was killed
    _apt_update()
    _run("apt", install)


def _apt_install_optional(profile: str, after: Iterable[Future[None]]) -> None:
    """Installs what a build can do without, when apt has done with the rest; without it, what runs it fails."""
    futures.wait(after)
    for tool in remedies.OPTIONAL[profile]:
        if shutil.which(tool) is None:
            try:
                _apt_install([tool])
            except BuildError as error:
                _say(f"what runs {tool} will fail\n{error}")


def _apt_update() -> None:
    """Updates apt's lists. Unlike dpkg's lock, theirs is not one that apt waits for."""
    deadline = time.monotonic() + _APT_LISTS_PATIENCE
    while True:
        try:
            return _run("apt", [*_APT_GET, "update"])
        except BuildError as error:
            if _APT_LISTS_LOCK not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def _vendor_crates(checkout: Checkout) -> None:
    """Fetches the wrapper's crates where there are no packages of the locked versions: builds need no network."""
    found = checkout.survey().found
    if "crates" not in found and "cargo" in found:
        _say("fetching the wrapper's crates")
        partial = checkout.venv / f".{CRATES_FOLDER}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        manifest = checkout.top / "wrapper" / "Cargo.toml"
        vendor = ["vendor", "--quiet", "--locked", "--versioned-dirs", "--manifest-path", str(manifest), str(partial)]
        # Apart from the user's configuration: where that names a folder of crates, cargo vendor empties the folder.
        home = {"CARGO_HOME": str(checkout.venv / ".cargo")}
        _run("cargo", [*found["cargo"].command, *vendor], folder="/", variables=home)
        partial.replace(checkout.venv / CRATES_FOLDER)


def _run(
    what: str,
    command: Sequence[str],
    keep: int | None = None,
    folder: str | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Runs a command, silent unless it fails.

    Args:
        what: What messages call it.
        command: Its words.
        keep: A descriptor that it inherits.
        folder: Where it runs; here if it is None.
        variables: More environment variables.

    Raises:
        BuildError: It failed; the message holds the end of its output.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**_environment(), **variables},
        cwd=folder,
        pass_fds=() if keep is None else (keep,),
        check=False,
    )
    if done.returncode:
        log = done.stdout.decode("utf-8", "replace").splitlines()[-_LINES_OF_LOG:]
        raise BuildError(Problem(what, f"{' '.join(command)} ended with {done.returncode}", "\n    ".join(log)))


def _environment() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def _say(text: str) -> None:
    prefix = "\033[1msconsw:\033[0m" if sys.stderr.isatty() else "sconsw:"
    sys.stderr.write(f"{prefix} {text}\n")
    sys.stderr.flush()
