"""``python -m onnx_wasm``: a first manifest for a model, and what can be done with a finished module, from anywhere.

A command imports what it needs when it runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from onnx_wasm import symbols
from onnx_wasm.errors import BuildError, Problem

_FAILED = 1
_MISUSED = 2


def main() -> int:
    """Runs the command that the command line names.

    Returns:
        The exit status: 0, 1 if the module reported an error, 2 if it could not be asked to do the work.
    """
    parser = argparse.ArgumentParser(
        prog="python -m onnx_wasm", description="Starts with a model, works with its module."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands.add_parser("run", help="run a module on files", description=_run.__doc__))
    _add_new(commands.add_parser("new", help="write a first manifest beside a model", description=_new.__doc__))
    _add_inspect(commands.add_parser("inspect", help="tell what a module consists of", description=_inspect.__doc__))
    _add_verify_release(
        commands.add_parser("verify-release", help="check a release", description=_verify_release.__doc__)
    )
    _add_teaclave_local(
        commands.add_parser(
            "teaclave-local", help="serve a stand-in for Teaclave on this machine", description=_teaclave_local.__doc__
        )
    )
    arguments = parser.parse_args()
    # A module runs outside of Python, where Python's own handler would wait for it to return.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        status: int = arguments.command(arguments)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return _MISUSED
    return status


def _add_new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx", type=Path, help="the model, an ONNX file")
    parser.set_defaults(command=_new)


def _new(arguments: argparse.Namespace) -> int:
    """Writes a commented manifest beside an ONNX file, and a first test."""
    from onnx_wasm import first_manifest

    made = first_manifest.write(arguments.model)
    sys.stdout.write(f"{made.manifest}{': with a test' if made.test else ''}\n")
    if made.open:
        sys.stdout.write(f"say in it how large these are: {', '.join(made.open)}\n")
    for problem in made.obstacles:
        sys.stdout.write(f"this stands in the way: {problem.message}\n")
    return 0


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("module", metavar="MODULE", type=Path, help="the module, a .wasm file")
    parser.add_argument(
        "pairs", metavar="KEY=FILE", type=_pair, nargs="*", help="an argument of the module and the file for it"
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="how long the module may take (no limit)")
    parser.set_defaults(command=_run)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("module", metavar="MODULE", type=Path, help="the module, a .wasm file")
    parser.add_argument(
        "--symbols",
        metavar="FILE",
        type=Path,
        help="its functions' names (default: <module>.symbols.json, if it is there)",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_inspect)


def _add_verify_release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="the release, unpacked")
    parser.add_argument("--key", metavar="PEM", type=Path, help="the public key of whoever must have signed it")
    parser.add_argument(
        "--source",
        metavar="REPOSITORY",
        type=Path,
        default=Path(),
        help="the git repository that has its commit (default: this folder's)",
    )
    parser.add_argument("--no-rebuild", action="store_true", help="check what is there, and leave it at that")
    parser.set_defaults(command=_verify_release)


def _add_teaclave_local(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, help="where addresses of files (file:) may lead (default: nowhere)")
    parser.add_argument(
        "--authentication-port", metavar="PORT", type=int, default=7776, help="0 for any (default: %(default)s)"
    )
    parser.add_argument(
        "--frontend-port", metavar="PORT", type=int, default=7777, help="0 for any (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", metavar="SECONDS", type=float, default=60.0, help="how long a task may run (default: %(default)s)"
    )
    parser.add_argument(
        "--token-seconds",
        metavar="SECONDS",
        type=float,
        default=24 * 60 * 60.0,
        help="how long who logged in stays so (default: a day, as in Teaclave)",
    )
    parser.add_argument(
        "--largest-message",
        metavar="BYTES",
        type=int,
        default=4 << 20,
        help="the payload included (default: %(default)s, as in Teaclave)",
    )
    parser.set_defaults(command=_teaclave_local)


def _pair(text: str) -> tuple[str, str]:
    key, separator, file = text.partition("=")
    if not (key and separator and file):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=FILE")
    return key, file


def _run(arguments: argparse.Namespace) -> int:
    """Runs a module in its platform's stand-in on files and prints what it returns."""
    from onnx_wasm.hosts.loading import load

    where = str(arguments.module)
    files = dict(arguments.pairs)
    if len(files) < len(arguments.pairs):
        twice = sorted(key for key in files if [pair[0] for pair in arguments.pairs].count(key) > 1)
        raise BuildError(Problem(where, f"{', '.join(twice)} is given twice"))
    result = load(arguments.module).run(files, timeout=arguments.timeout)
    if result.value is None:
        sys.stderr.write(f"{where}: {result.trap}\n")
        return _FAILED
    sys.stdout.write(result.printed or f"{result.value}\n")
    if result.value >= 0:
        return 0
    if result.file_errors:
        raise BuildError(result.file_errors)
    sys.stderr.write(f"{where}: {_meaning(result.value)}\n")
    return _FAILED


def _teaclave_local(arguments: argparse.Namespace) -> int:
    """Serves Teaclave's two public services on this machine, so that scripts can be tried. It is not an enclave."""
    try:
        from onnx_wasm.teaclave.server import Settings, serve
    except ModuleNotFoundError as error:
        hint = "./sconsw setup full brings it; elsewhere python -m pip install 'onnx-wasm[teaclave]'"
        raise BuildError(Problem("teaclave-local", f"needs the package {error.name}", hint)) from error
    if arguments.folder is not None and not arguments.folder.is_dir():
        raise BuildError(Problem(str(arguments.folder), "is not a folder"))
    options = {key: it for key, it in vars(arguments).items() if key != "command"}
    leads = "nowhere: see --folder" if arguments.folder is None else f"into {arguments.folder.resolve()}"

    def tell(authentication: int, frontend: int) -> None:
        sys.stdout.write(
            "teaclave-local is NOT an enclave and protects NOTHING: keys, files and results are in the open.\n"
            f"authentication localhost:{authentication}, frontend localhost:{frontend}; clients set SGX_MODE=SW\n"
            f"the first user is admin, its password teaclave; addresses of files lead {leads}\n"
        )
        sys.stdout.flush()

    async def until_told() -> None:
        ended = asyncio.Event()
        for signal_ in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_, ended.set)
        await serve(Settings(**options), tell, ended)

    asyncio.run(until_told())
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    """Tells a module's features, imports, exports, memory, and its sizes by section and by kernel."""
    from onnx_wasm.hosts import inspection

    where, beside = str(arguments.module), arguments.module.with_suffix(".symbols.json")
    file = arguments.symbols or (beside if beside.is_file() else None)
    names = symbols.parse(_read(file).decode(errors="replace"), str(file)) if file else None
    found = inspection.inspect(_read(arguments.module), where, names)
    sys.stdout.write(inspection.to_json(found) if arguments.json else inspection.to_text(found, where))
    return 0


def _verify_release(arguments: argparse.Namespace) -> int:
    """Checks a release's sums, signature, SBOM and provenance, then rebuilds it from its sources and compares."""
    from onnx_wasm.release import rebuild, signing, verification

    folder = arguments.folder.resolve()
    key = signing.public_key(arguments.key) if arguments.key else None
    verdict = verification.verify(folder, key)
    if verdict.problems or verdict.build is None:
        raise BuildError(verdict.problems)
    if key:
        sys.stdout.write(f"{folder.name}: signed by {key.keyid}\n")
    else:
        signed = "nobody looked at the signature: name the key with --key" if verdict.signers else "NOT SIGNED"
        sys.stdout.write(f"{folder.name}: {signed}\n")
    sys.stdout.write(f"{folder.name}: sums, SBOM and provenance hold; made from commit {verdict.build.commit}\n")
    if not arguments.no_rebuild:
        sys.stdout.flush()
        problems = rebuild.rebuild(folder, verdict.build, arguments.source)
        if problems:
            raise BuildError(problems)
        sys.stdout.write(f"{folder.name}: rebuilt, every file is the same\n")
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BuildError(Problem(str(path), f"cannot be read: {error.strerror}")) from error


def _meaning(code: int) -> str:
    from onnx_wasm.status import statuses

    status = statuses().get(code)
    return f"returned {code}, which says nothing of ours" if status is None else f"{status.text} ({status.name})"


if __name__ == "__main__":
    sys.exit(main())
