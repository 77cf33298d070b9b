"""Where, when and by whom a build runs: what must not make a difference to its result, made to differ.

A build runs in bubblewrap as another user of another machine; libfaketime tells every process another date. As actions
see a fixed environment, that has to come from files: ``/etc/ld.so.preload`` and ``/etc/faketimerc``, which only the
build sees.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.errors import BuildError, Problem

_FOLDERS = ("a", "another place/down here/with spaces", "x/y/z/deeper/and/deeper", "über-checkout")
_LOCALES = ("C", "C.UTF-8", "de_DE.UTF-8", "tr_TR.UTF-8")
_ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati")
_UMASKS = (0o022, 0o077, 0o002)
_DAYS = 3000
_LIBRARY = "*/faketime/libfaketime.so.1"


@dataclass(frozen=True)
class Perturbation:
    """The circumstances of one build.

    Args:
        number: Which of the builds it is, from 0.
        folder: Where the checkout is, below a folder of its own.
        uid: The user's number.
        user: What the environment calls the user.
        host: What the machine is called.
        umask: What is taken from the modes of new files.
        locale: ``LC_ALL`` and ``LANG``.
        zone: ``TZ``.
        days: How far the date is off.
        jobs: SCons's ``-j``.
        shuffled: Whether SCons builds in random order.
        memory: Whether the checkout is in a file system of its own in memory, where folders list what came last first.
        order: The seed of the order in which the checkout's files are made.
        strategy: Where actions run. In a sandbox they see less of all this; what is released is made in one.
    """

    number: int
    folder: str
    uid: int
    user: str
    host: str
    umask: int
    locale: str
    zone: str
    days: int
    jobs: int
    shuffled: bool
    memory: bool
    order: int
    strategy: str

    def names(self) -> tuple[str, ...]:
        """What of it no artefact may hold."""
        return (self.user, self.host, f"perturbed-{self.number}")

    def environment(self, home: Path) -> dict[str, str]:
        """The build's environment: what perturbs, and an empty home."""
        words = {"USER": self.user, "LOGNAME": self.user, "LC_ALL": self.locale, "LANG": self.locale, "TZ": self.zone}
        homes = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home)}
        return {**words, **homes, "PYTHONHASHSEED": str(self.number + 1), "PATH": "/usr/local/bin:/usr/bin:/bin"}

    def options(self) -> list[str]:
        """SCons's options."""
        return [f"--strategy={self.strategy}", f"-j{self.jobs}", *(["--random"] if self.shuffled else [])]


def perturbations(count: int, seed: int = 0) -> list[Perturbation]:
    """The circumstances of so many builds; the same for the same numbers, and no two alike.

    Args:
        count: How many, 100 at most.
        seed: Others for another number.
    """
    return [perturbation(100 * seed + number) for number in range(count)]


def perturbation(number: int) -> Perturbation:
    """The circumstances of one build.

    Args:
        number: Which of all there are.
    """
    draw = random.Random(number)
    return Perturbation(
        number=number,
        folder=f"perturbed-{number}/{_FOLDERS[number % len(_FOLDERS)]}",
        uid=1000 + 137 * number,
        user=f"perturbed-user-{number}",
        host=f"perturbed-host-{number}",
        umask=_UMASKS[number % len(_UMASKS)],
        locale=_LOCALES[number % len(_LOCALES)],
        zone=draw.choice(_ZONES),
        days=draw.randrange(-_DAYS, _DAYS) if number else 0,
        jobs=1 + number % 3,
        shuffled=number % 2 == 1,
        memory=number % 2 == 1,
        order=number,
        strategy="sandbox" if number % 3 == 2 else "local",
    )


def command(its: Perturbation, top: Path, scratch: Path, words: Sequence[str]) -> list[str]:
    """The command line that runs a command under a perturbation.

    Args:
        its: The perturbation.
        top: The folder that the build may write in: the checkout's and its home are below.
        scratch: A folder for what the build is shown in place of files of ``/etc``.
        words: The command.

    Raises:
        BuildError: bubblewrap or libfaketime is missing.
    """
    bwrap = shutil.which("bwrap")
    library = next((path for folder in ("/usr/lib", "/usr/lib64") for path in Path(folder).glob(_LIBRARY)), None)
    if bwrap is None or library is None:
        missing = "bubblewrap" if bwrap is None else "faketime"
        raise BuildError(Problem(missing, "is not installed: builds cannot be perturbed", "./sconsw setup dev"))
    rc, preload = scratch / "faketimerc", scratch / "ld.so.preload"
    rc.write_text(f"{its.days:+d}d\n", encoding="utf-8")
    preload.write_text(f"{library}\n", encoding="utf-8")
    files = {"/etc/faketimerc": rc, "/etc/ld.so.preload": preload}
    return [
        *(bwrap, "--die-with-parent", "--unshare-user", "--unshare-uts", "--unshare-ipc"),
        *("--uid", str(its.uid), "--gid", str(its.uid), "--hostname", its.host),
        *("--dev-bind", "/", "/", "--tmpfs", "/dev/shm", "--tmpfs", "/etc", *_etc(files)),
        *(word for name, path in files.items() for word in ("--ro-bind", str(path), name)),
        *("--chdir", str(top), "--", *words),
    ]


def _etc(but: dict[str, Path]) -> Iterator[str]:
    for path in sorted(Path("/etc").iterdir()):
        if str(path) not in but and path.exists():
            yield from ("--ro-bind", str(path.resolve()), str(path))
