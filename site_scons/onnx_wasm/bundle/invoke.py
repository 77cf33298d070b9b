#!/usr/bin/env python3
"""Runs the function of function.json in Teaclave, by Teaclave's Python SDK, and prints what it returns.

    SGX_MODE=SW PYTHONPATH=…/incubator-teaclave/sdk/python python3 invoke.py --folder FILES KEY=FILE…

KEY=FILE names the file of an input, or where the tensor of an output goes. Each file is encrypted for Teaclave with a
key of its own. The script stands for every user who has a part in the task, as those of Teaclave's examples do; where
they are people of their own, each does the part that is theirs.

SGX_MODE=SW takes the services' word for what they are: for a Teaclave without SGX, and for its stand-in, which
python -m onnx_wasm teaclave-local starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import ssl
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def _no_npn(*_: Any) -> None:
    """What ``set_npn_protocols`` did where there was no NPN: the SDK knows that, but not that Python 3.10 has none."""
    raise NotImplementedError


setattr(ssl.SSLContext, "set_npn_protocols", _no_npn)  # noqa: B010 - there may be none

from teaclave import (  # noqa: E402 - what is above has to come first
    AuthenticationService,
    DataMap,
    FrontendService,
    FunctionArgument,
    FunctionInput,
    FunctionOutput,
    OwnerList,
)

HERE = Path(__file__).resolve().parent
SCHEMA = "aes-gcm-128"
ASSOCIATED = bytes(8)  # Teaclave authenticates eight zeros along with the content
TAG = 16


class EncryptedFile:
    """A file where Teaclave fetches and puts files, with a key that only its owner and Teaclave have."""

    def __init__(self, folder: Path, url: str, name: str) -> None:
        unique = f"{secrets.token_hex(8)}-{name}.enc"
        self.path = folder / unique
        self.url = f"{url.rstrip('/')}/{unique}"
        self.key = secrets.token_bytes(16)
        self.iv = secrets.token_bytes(12)

    def register_input(self, client: Any, content: bytes) -> Any:
        """Encrypts the file and tells Teaclave of it; gives its id."""
        data = AESGCM(self.key).encrypt(self.iv, content, ASSOCIATED)
        self.path.write_bytes(data)
        return client.register_input_file(self.url, SCHEMA, list(self.key), list(self.iv), list(data[-TAG:]))

    def register_output(self, client: Any) -> Any:
        """Tells Teaclave where to write; gives the file's id."""
        return client.register_output_file(self.url, SCHEMA, list(self.key), list(self.iv))

    def decrypt(self, tag: bytes) -> bytes:
        """What Teaclave wrote, if it has this tag."""
        data = self.path.read_bytes()
        if data[-TAG:] != tag:
            sys.exit(f"invoke.py: {self.path} is not the file that the task wrote")
        return AESGCM(self.key).decrypt(self.iv, data, ASSOCIATED)


def main() -> None:
    """Does every user's part, one after the other."""
    function = json.loads((HERE / "function.json").read_text(encoding="utf-8"))
    options, paths = parse(function)
    creator = function["creator"]
    inputs = {it["name"]: it["owner"] for it in function["inputs"]}
    outputs = {it["name"]: it["owner"] for it in function["outputs"] if it["name"] in paths}
    clients = {user: log_in(user, options) for user in sorted({creator, *inputs.values(), *outputs.values()})}
    url = options.url or options.folder.as_uri()
    files = {name: EncryptedFile(options.folder, url, name) for name in (*inputs, *outputs)}
    try:
        say(creator, "registering function")
        function_id = register_function(clients[creator], function)

        say(creator, "creating task")
        task_id = clients[creator].create_task(
            function_id=function_id,
            # Each argument is the name of a file of the task; an output that nobody asked for has an empty one.
            function_arguments={key: key if key in files else "" for key in keys(function)},
            executor=function["executor_type"],
            inputs_ownership=[OwnerList(name, [owner]) for name, owner in inputs.items()],
            outputs_ownership=[OwnerList(name, [owner]) for name, owner in outputs.items()],
        )

        for user, client in clients.items():
            say(user, "registering files, assigning data to task")
            read = {name: Path(paths[name]).read_bytes() for name, owner in inputs.items() if owner == user}
            client.assign_data_to_task(
                task_id,
                [DataMap(name, files[name].register_input(client, content)) for name, content in read.items()],
                [DataMap(name, files[name].register_output(client)) for name, it in outputs.items() if it == user],
            )

        for user, client in clients.items():
            say(user, "approving task")
            client.approve_task(task_id)

        say(creator, "invoking task")
        clients[creator].invoke_task(task_id)

        say(creator, "getting task result")
        value = result_of(clients[creator], task_id)
        if value in function["statuses"]:
            sys.exit(f"invoke.py: the function returned {value}: {function['statuses'][value]}")
        for name in outputs:
            tag = bytes(clients[creator].get_output_cmac_by_tag(task_id, name))
            Path(paths[name]).write_bytes(files[name].decrypt(tag))
        sys.stdout.write(f"{value}\n")
    finally:
        for file in files.values():
            with contextlib.suppress(FileNotFoundError):
                file.path.unlink()
        for client in clients.values():
            client.close()


def parse(function: dict[str, Any]) -> tuple[argparse.Namespace, dict[str, str]]:
    """Reads the command line; gives the options, and the path of each file."""
    root = os.environ.get("TEACLAVE_PROJECT_ROOT", "../..")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="KEY=FILE", nargs="*", help=f"the keys: {', '.join(keys(function))}")
    parser.add_argument("--folder", type=Path, required=True, help="where Teaclave fetches and puts encrypted files")
    parser.add_argument("--url", help="the folder's address, as Teaclave knows it (default: file://…)")
    parser.add_argument("--host", default="localhost", help="where Teaclave's services are (default: %(default)s)")
    parser.add_argument("--authentication-port", type=int, default=7776, help="default: %(default)s")
    parser.add_argument("--frontend-port", type=int, default=7777, help="default: %(default)s")
    parser.add_argument("--admin-password", default="teaclave", help="of admin, who registers the users")
    parser.add_argument("--password", default="password", help="of the users (default: %(default)s)")
    parser.add_argument("--root-ca", default=f"{root}/config/keys/ias_root_ca_cert.pem", help="default: %(default)s")
    parser.add_argument(
        "--enclave-info", default=f"{root}/release/examples/enclave_info.toml", help="default: %(default)s"
    )
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    options.folder = options.folder.resolve()
    beside = {name: str(HERE / file) for name, file in function["files"].items()}
    paths = {**beside, **dict(it.partition("=")[::2] for it in options.files)}
    problems = [
        *(f"there is no key {key}" for key in paths if key not in keys(function)),
        *(f"{it['name']}=FILE is missing" for it in function["inputs"] if it["name"] not in paths),
    ]
    if problems:
        parser.error("; ".join(problems))
    return options, paths


def keys(function: dict[str, Any]) -> list[str]:
    """The keys of the function's arguments."""
    return [it["key"] for it in function["arguments"]]


def log_in(user: str, options: argparse.Namespace) -> Any:
    """Registers a user, unless it is registered, and gives its client of the frontend."""
    with connect(AuthenticationService, options.authentication_port, options) as client:
        token = client.user_login("admin", options.admin_password)
        client.metadata = {"id": "admin", "token": token}
        with contextlib.suppress(Exception):
            client.user_register(user, options.password, "PlatformAdmin", "")
    say(user, "login")
    with connect(AuthenticationService, options.authentication_port, options) as client:
        token = client.user_login(user, options.password)
    client = connect(FrontendService, options.frontend_port, options)
    client.metadata = {"id": user, "token": token}
    return client


def connect(service: Any, port: int, options: argparse.Namespace) -> Any:
    """A client of a service; that of Teaclave 0.5 has to be told to connect."""
    client = service((options.host, port), options.root_ca, options.enclave_info)
    return client.connect() if hasattr(client, "connect") else client


def register_function(client: Any, function: dict[str, Any]) -> Any:
    """Registers the function as function.json describes it; gives its id."""
    return client.register_function(
        name=function["name"],
        description=function["description"],
        executor_type=function["executor_type"],
        public=function["public"],
        payload=list((HERE / function["payload"]).read_bytes()),
        arguments=[FunctionArgument(**it) for it in function["arguments"]],
        inputs=[FunctionInput(it["name"], it["description"], it["optional"]) for it in function["inputs"]],
        outputs=[FunctionOutput(it["name"], it["description"], it["optional"]) for it in function["outputs"]],
    )


def result_of(client: Any, task_id: str) -> str:
    """What the function returned. If it failed, the SDK of 0.6 gives nothing, and that of 0.5 breaks off."""
    with contextlib.suppress(KeyError):
        value = bytes(client.get_task_result(task_id)).decode()
        if value:
            return value
    result = client.get_task(task_id)["result"] if hasattr(client, "get_task") else {}
    return sys.exit(f"invoke.py: the task failed: {result.get('Err', {}).get('reason', 'see the log of Teaclave')}")


def say(user: str, what: str) -> None:
    """Tells what happens, beside the result."""
    sys.stderr.write(f"[+] {user} {what}\n")


if __name__ == "__main__":
    main()
