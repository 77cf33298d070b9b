"""The stand-in for Teaclave: what a client's script gets from it, what it refuses, and that nothing of that ends it."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from servers import serving
from support import MNIST, ROOT, environment
from teaclave_local import Local, asked, connected, running
from test_teaclave_host import COPY, module

from onnx_wasm.teaclave import protected_file
from onnx_wasm.teaclave.refusal import Refusal
from onnx_wasm.teaclave.users import Users

from teaclave import (  # isort: skip - what stands for the SDK
    AuthenticationService,
    DataMap,
    FrontendService,
    FunctionArgument,
    FunctionInput,
    FunctionOutput,
    OwnerList,
    TeaclaveException,
)

KEY, IV = bytes(range(32)), bytes(range(12))
SCHEMAS = {"aes-gcm-128": (KEY[:16], IV), "aes-gcm-256": (KEY, IV), "teaclave-file-128": (KEY[:16], b"")}
DIGIT = ROOT / "models/mnist/digits/7.png"
CONTENT = b"12345678"
NO_TAG = bytes(16)
ENDLESS = "(loop $more (br $more)) (i32.const 0)"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with running(tmp_path_factory.mktemp("files")) as started:
        yield started


@pytest.fixture
def ada(local: Local) -> FrontendService:
    return local.add_user("ada")


@pytest.fixture
def ben(local: Local) -> FrontendService:
    return local.add_user("ben")


def encrypted(schema: str, content: bytes, name: str) -> tuple[bytes, bytes]:
    """A file as a client makes it, and its tag; AES-GCM by hand."""
    if schema == "teaclave-file-128":
        return protected_file.encrypt(content, KEY[:16], name)
    if schema == "raw":
        return content, NO_TAG
    key, iv = SCHEMAS[schema]
    data = AESGCM(key).encrypt(iv, content, bytes(8))
    return data, data[-16:]


def register_input(
    client: FrontendService, local: Local, name: str, content: bytes = CONTENT, schema: str = "aes-gcm-128"
) -> str:
    data, tag = encrypted(schema, content, name)
    (local.folder / name).write_bytes(data)
    return client.register_input_file(local.url(name), schema, *SCHEMAS.get(schema, (b"", b"")), tag)


def register_copy(client: FrontendService, **how: object) -> str:
    """A function that copies eight bytes."""
    return client.register_function(
        *("copy", "copies", "wamr"),
        payload=module(COPY),
        arguments=[FunctionArgument("in"), FunctionArgument("out")],
        inputs=[FunctionInput("in", "")],
        outputs=[FunctionOutput("out", "")],
        **how,  # type: ignore[arg-type]
    )


def copy_task(client: FrontendService, function: str, owner_in: Sequence[str], owner_out: Sequence[str]) -> str:
    inputs, outputs = [OwnerList("in", list(owner_in))], [OwnerList("out", list(owner_out))]
    return client.create_task(function, {"in": "in", "out": "out"}, "wamr", inputs, outputs)


def plain_task(client: FrontendService, body: str) -> str:
    """A task without files."""
    function = client.register_function("plain", "", "wamr", payload=module(body))
    return client.create_task(function, {}, "wamr")


def fresh(local: Local) -> str:
    """A name for a file that is not there yet."""
    return f"{len(list(local.folder.iterdir()))}-{time.monotonic_ns()}.enc"


# What it does


def test_it_says_on_start_that_it_protects_nothing(local: Local) -> None:
    assert "NOT an enclave and protects NOTHING" in local.told
    assert str(local.folder.resolve()) in local.told


@pytest.mark.parametrize("schema", [*SCHEMAS, "raw"])
def test_teaclave_s_own_tutorial_works_with_every_schema(
    schema: str, local: Local, built: Path, ada: FrontendService
) -> None:
    function = ada.register_function(
        *("mnist", "reads a digit", "wamr"),
        payload=(built / MNIST / "mnist.wasm").read_bytes(),
        arguments=[FunctionArgument("input_img")],
        inputs=[FunctionInput("input_img", "a digit")],
    )
    arguments = {"input_img": "input_img"}
    task = ada.create_task(function, arguments, "wamr", [OwnerList("input_img", ["ada"])])
    data = register_input(ada, local, f"digit-{schema}.enc", DIGIT.read_bytes(), schema)
    ada.assign_data_to_task(task, [DataMap("input_img", data)], [])
    ada.approve_task(task)
    ada.invoke_task(task)
    assert ada.get_task_result(task) == b"7"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_outputs_are_encrypted_and_their_tags_told(schema: str, local: Local, ada: FrontendService) -> None:
    task = copy_task(ada, register_copy(ada), ["ada"], ["ada"])
    name = fresh(local)
    output = ada.register_output_file(local.url(name), schema, *SCHEMAS[schema])
    data = register_input(ada, local, fresh(local))
    ada.assign_data_to_task(task, [DataMap("in", data)], [DataMap("out", output)])
    ada.invoke_task(task)
    assert ada.get_task_result(task) == b"0"
    tag, written = ada.get_output_cmac_by_tag(task, "out"), (local.folder / name).read_bytes()
    assert ada.call("GetOutputFile", [(1, output)]) == {1: [b"ada"], 2: [tag]}
    if schema == "teaclave-file-128":
        assert protected_file.decrypt(written, KEY[:16]) == (name, CONTENT, tag)
    else:
        key, iv = SCHEMAS[schema]
        assert (AESGCM(key).decrypt(iv, written, bytes(8)), written[-16:]) == (CONTENT, tag)


def test_data_of_two_owners_stay_inside_and_go_into_the_next_task(
    local: Local, ada: FrontendService, ben: FrontendService
) -> None:
    both, function = ["ada", "ben"], register_copy(ada)
    fused = ada.register_fusion_output(both)
    first = copy_task(ada, function, ["ada"], both)
    data = register_input(ada, local, fresh(local))
    with pytest.raises(TeaclaveException, match="no task has written it yet"):
        ada.register_input_from_output(fused)
    ada.assign_data_to_task(first, [DataMap("in", data)], [DataMap("out", fused)])
    for client in (ada, ben):
        client.approve_task(first)
    ada.invoke_task(first)
    assert ada.get_task_result(first) == b"0"

    second, name = copy_task(ben, function, both, ["ben"]), fresh(local)
    output = ben.register_output_file(local.url(name), "aes-gcm-128", *SCHEMAS["aes-gcm-128"])
    ben.assign_data_to_task(second, [DataMap("in", ada.register_input_from_output(fused))], [DataMap("out", output)])
    for client in (ada, ben):
        client.approve_task(second)
    ben.invoke_task(second)
    assert ben.get_task_result(second) == b"0"
    assert AESGCM(KEY[:16]).decrypt(IV, (local.folder / name).read_bytes(), bytes(8)) == CONTENT


def test_inputs_come_from_a_server_on_this_machine_and_from_the_address_itself(
    local: Local, ada: FrontendService
) -> None:
    data, tag = encrypted("aes-gcm-128", CONTENT, "x")
    inline = f"data:text/plain;base64,{base64.b64encode(data).decode()}"
    with serving() as server:
        for url in (server.put("/input.enc", data), inline):
            task = copy_task(ada, register_copy(ada), ["ada"], ["ada"])
            input_ = ada.register_input_file(url, "aes-gcm-128", *SCHEMAS["aes-gcm-128"], tag)
            output = ada.register_output_file(local.url(fresh(local)), "aes-gcm-128", *SCHEMAS["aes-gcm-128"])
            ada.assign_data_to_task(task, [DataMap("in", input_)], [DataMap("out", output)])
            ada.invoke_task(task)
            assert ada.get_task_result(task) == b"0"


def test_a_trap_s_message_is_the_result_as_in_teaclave(ada: FrontendService) -> None:
    task = plain_task(ada, "unreachable")
    ada.invoke_task(task)
    assert ada.get_task_result(task) == b"Exception: unreachable"


def test_the_sdk_of_teaclave_0_5_is_answered_in_json(local: Local) -> None:
    local.add_user("eve")
    with connected(local.authentication) as connection:
        login = asked(connection, "user_login", {"id": "eve", "password": "eve"}, {})
        assert login["result"] == "ok"
        wrong = asked(connection, "user_login", {"id": "eve", "password": "x"}, {})
        assert wrong["result"] == "err"
        assert "not the password" in wrong["request_error"]
    metadata = {"id": "eve", "token": login["content"]["token"]}
    name = fresh(local)
    data, tag = encrypted("aes-gcm-128", CONTENT, name)
    (local.folder / name).write_bytes(data)
    with connected(local.frontend) as connection:

        def ask(request: str, **fields: object) -> dict[str, object]:
            answer = asked(connection, request, fields, metadata)
            assert answer["result"] == "ok", answer
            content: dict[str, object] = answer["content"]
            return content

        crypto = {"schema": "aes-gcm-128", "key": list(KEY[:16]), "iv": list(IV)}
        argument = {"default_value": "", "allow_overwrite": True}
        function = ask(
            "register_function",
            name="copy",
            description="",
            executor_type="wamr",
            public=True,
            payload=list(module(COPY)),
            arguments=[{"key": "in", **argument}, {"key": "out", **argument}],
            inputs=[{"name": "in", "description": "", "optional": False}],
            outputs=[{"name": "out", "description": "", "optional": False}],
            user_allowlist=[],
            usage_quota=-1,
        )["function_id"]
        owned = [[{"data_name": it, "uids": ["eve"]}] for it in ("in", "out")]
        arguments = '{"in": "in", "out": "out"}'
        task = ask(
            "create_task",
            function_id=function,
            function_arguments=arguments,
            executor="wamr",
            inputs_ownership=owned[0],
            outputs_ownership=owned[1],
        )["task_id"]
        input_ = ask("register_input_file", url=local.url(name), cmac=list(tag), crypto_info=crypto)["data_id"]
        output = ask("register_output_file", url=local.url(fresh(local)), crypto_info=crypto)["data_id"]
        mapped = [[{"data_name": key, "data_id": it}] for key, it in (("in", input_), ("out", output))]
        ask("assign_data", task_id=task, inputs=mapped[0], outputs=mapped[1])
        ask("approve_task", task_id=task)
        ask("invoke_task", task_id=task)
        while (found := ask("get_task", task_id=task))["status"] != 10:
            time.sleep(0.05)
    result = found["result"]["result"]["Ok"]  # type: ignore[index]
    assert result["return_value"] == list(b"0")
    assert len(result["tags_map"]["out"]) == 16


# Who may do what


def test_a_task_runs_only_when_every_owner_approved(local: Local, ada: FrontendService, ben: FrontendService) -> None:
    task = copy_task(ada, register_copy(ada), ["ada"], ["ben"])
    with pytest.raises(TeaclaveException, match=r'failed to approve task: it is created; it lacks input "in", output'):
        ada.approve_task(task)
    ada.assign_data_to_task(task, [DataMap("in", register_input(ada, local, fresh(local)))], [])
    output = ben.register_output_file(local.url(fresh(local)), "aes-gcm-128", *SCHEMAS["aes-gcm-128"])
    ben.assign_data_to_task(task, [], [DataMap("out", output)])
    ada.approve_task(task)
    with pytest.raises(TeaclaveException, match=r"failed to invoke task: .*; it lacks the approval of ben"):
        ada.invoke_task(task)
    ben.approve_task(task)
    with pytest.raises(TeaclaveException, match=r"PERMISSION_DENIED.*created by another user"):
        ben.invoke_task(task)
    ada.invoke_task(task)
    for client in (ada, ben):
        assert client.get_task_result(task) == b"0"
    with pytest.raises(TeaclaveException, match="failed to invoke task: it is finished"):
        ada.invoke_task(task)


def test_another_user_s_file_is_refused(local: Local, ada: FrontendService, ben: FrontendService) -> None:
    task = copy_task(ada, register_copy(ada), ["ada"], ["ben"])
    of_ben, of_ada = register_input(ben, local, fresh(local)), register_input(ada, local, fresh(local))
    refused = {
        "is not of ada": lambda: ada.assign_data_to_task(task, [DataMap("in", of_ben)], []),
        "has to be a file of ada, not of ben": lambda: ben.assign_data_to_task(task, [DataMap("in", of_ben)], []),
        'no such file "other"': lambda: ada.assign_data_to_task(task, [DataMap("other", of_ada)], []),
        'there is no "input-1"': lambda: ada.assign_data_to_task(task, [DataMap("in", "input-1")], []),
        f"{of_ben} is not of ada alone": lambda: ada.call("UpdateInputFile", [(1, of_ben), (2, local.url("x"))]),
        f"{of_ben} is not of ada": lambda: ada.call("GetInputFile", [(1, of_ben)]),
        "ivy has no part": lambda: local.add_user("ivy").get_task(task),
    }
    for reason, attempt in refused.items():
        with pytest.raises(TeaclaveException, match=reason):
            attempt()
    ada.assign_data_to_task(task, [DataMap("in", of_ada)], [])
    with pytest.raises(TeaclaveException, match='"in" is assigned already'):
        ada.assign_data_to_task(task, [DataMap("in", of_ada)], [])


def test_a_function_that_is_not_public_is_for_its_allow_list(local: Local, ada: FrontendService) -> None:
    group = local.add_user("gus", "DataOwner", "gus")
    other = local.add_user("oda", "DataOwner", "oda")
    function = register_copy(ada, public=False, user_allowlist=["gus"], usage_quota=1)
    assert 5 not in group.get_function(function), "the payload is its owner's"
    assert ada.get_function(function)[5] == [module(COPY)]
    for attempt in (lambda: other.get_function(function), lambda: copy_task(other, function, ["oda"], ["oda"])):
        with pytest.raises(TeaclaveException, match=r"PERMISSION_DENIED.*is not in its allow list"):
            attempt()
    task = copy_task(group, function, ["gus"], ["gus"])
    assert group.get_task(task)["participants"] == ["ada", "gus"], "its owner has to approve"
    data = register_input(group, local, fresh(local))
    output = group.register_output_file(local.url(fresh(local)), "aes-gcm-128", *SCHEMAS["aes-gcm-128"])
    group.assign_data_to_task(task, [DataMap("in", data)], [DataMap("out", output)])
    for client in (ada, group):
        client.approve_task(task)
    group.invoke_task(task)
    assert group.get_task_result(task) == b"0"
    with pytest.raises(TeaclaveException, match="function quota has been used up"):
        group.invoke_task(copy_task(group, function, ["gus"], ["gus"]))
    assert ada.call("GetFunctionUsageStats", [(1, function)]) == {1: [1], 2: [1]}
    ada.call("DisableFunction", [(1, function)])
    assert function.encode() not in ada.call("ListFunctions", [(1, "ada")]).get(1, [])
    with pytest.raises(TeaclaveException, match="allow list"):
        copy_task(group, function, ["gus"], ["gus"])
    with pytest.raises(TeaclaveException, match="PERMISSION_DENIED"):
        group.call("DeleteFunction", [(1, function)])
    ada.call("DeleteFunction", [(1, function)])
    with pytest.raises(TeaclaveException, match="invalid function id"):
        ada.get_function(function)


def test_what_a_task_is_given_has_to_be_what_its_function_declares(ada: FrontendService) -> None:
    function = register_copy(ada)
    owned = [OwnerList("in", ["ada"])], [OwnerList("out", ["ada"])]
    wrong = {
        "function_arguments mismatch: missing out": ({"in": "in"}, *owned),
        "function_arguments mismatch: missing in, out, unknown x": ({"x": 1}, *owned),
        "input keys mismatch: missing in": ({"in": "in", "out": "out"}, [], owned[1]),
        "output keys mismatch: missing out, unknown in": ({"in": "in", "out": "out"}, owned[0], owned[0]),
    }
    for reason, (arguments, inputs, outputs) in wrong.items():
        with pytest.raises(TeaclaveException, match=f"INVALID_ARGUMENT: invalid task: {reason}"):
            ada.create_task(function, arguments, "wamr", inputs, outputs)
    with pytest.raises(TeaclaveException, match='no executor "mesapy"'):
        ada.create_task(function, {"in": "in", "out": "out"}, "mesapy", *owned)


def test_users_are_what_their_roles_allow(local: Local) -> None:
    with AuthenticationService(("localhost", local.authentication)) as client:
        with pytest.raises(TeaclaveException, match="UNAUTHENTICATED: missing user id"):
            client.user_register("new", "new", "PlatformAdmin")
        client.user_login("admin", "teaclave")
        with pytest.raises(TeaclaveException, match="invalid role"):
            client.user_register("new", "new", "Emperor")
        client.user_register("manager", "first", "DataOwnerManager", "bank")
        client.user_register("maker", "maker", "FunctionOwner")
        with pytest.raises(TeaclaveException, match="user id exist"):
            client.user_register("maker", "maker", "FunctionOwner")
        client.user_login("manager", "first")
        client.user_change_password("second")
        with pytest.raises(TeaclaveException, match="this is not the password"):
            client.user_login("manager", "first")
        client.user_login("manager", "second")
        client.user_register("teller", "teller", "DataOwner", "bank")
        client.user_update("teller", "teller2", "DataOwner", "bank")
        assert client.list_users("bank") == ["teller"]
        for attempt in (
            lambda: client.user_register("spy", "spy", "DataOwner", "shop"),
            lambda: client.list_users("shop"),
            lambda: client.delete_user("maker"),
        ):
            with pytest.raises(TeaclaveException, match="permission denied"):
                attempt()
        password = client.reset_user_password("teller")
        assert client.user_login("teller", password)
    maker = local.log_in("maker")
    with pytest.raises(TeaclaveException, match=r"PERMISSION_DENIED.*FunctionOwner may not call RegisterInputFile"):
        register_input(maker, local, fresh(local))
    register_copy(maker)
    with AuthenticationService(("localhost", local.authentication)) as client:
        client.user_login("manager", "second")
        client.delete_user("teller")
        with pytest.raises(TeaclaveException, match="no user"):
            client.user_login("teller", password)


def test_requests_are_logged_for_the_admin(local: Local, ada: FrontendService) -> None:
    with pytest.raises(TeaclaveException):
        ada.get_function("function-none")
    found = ada.call("QueryAuditLogs", [(1, "get_function"), (2, 1)])[1]
    assert b"get_function: invalid function id" in found[0]
    assert b"user: ada" in found[0]
    guest = local.add_user("gil", "DataOwner", "gil")
    with pytest.raises(TeaclaveException, match="PERMISSION_DENIED"):
        guest.call("QueryAuditLogs", [(1, ""), (2, 1)])


def test_a_token_is_its_user_s(ada: FrontendService, ben: FrontendService) -> None:
    ada.metadata = {**ada.metadata, "token": ben.metadata["token"]}
    with pytest.raises(TeaclaveException, match=r'UNAUTHENTICATED: .*not a token of "ada"'):
        ada.get_function("function-none")
    ada.metadata = {"id": "ada"}
    with pytest.raises(TeaclaveException, match="UNAUTHENTICATED: missing token"):
        ada.get_function("function-none")


def test_a_token_expires() -> None:
    now = [0.0]
    users = Users(token_life=60, clock=lambda: now[0])
    token = users.log_in("admin", "teaclave")
    now[0] = 59.9
    assert users.holder("admin", token).role.admin
    now[0] = 60
    with pytest.raises(Refusal, match='the token of "admin" has expired; log in again'):
        users.holder("admin", token)
    assert users.holder("admin", users.log_in("admin", "teaclave"))


# What it refuses to touch


def test_addresses_that_are_not_safe_are_refused_with_the_reason(local: Local, ada: FrontendService) -> None:
    (local.folder / "out").symlink_to("/etc")
    crypto = ("aes-gcm-128", *SCHEMAS["aes-gcm-128"])
    wrong = {
        "https://localhost/x": "scheme 'https' are not served",
        "s3://bucket/x": "scheme 's3' are not served",
        "ftp://localhost/x": "scheme 'ftp' are not served",
        "no address": "scheme '' are not served",
        "http://192.0.2.1/x": "not on this machine",
        "http://localhost.example.org/x": "not on this machine",
        "http://[::1/x": "Invalid IPv6",
        "file:///etc/passwd": "leads out of",
        f"{local.folder.as_uri()}/../x": "leads out of",
        f"{local.folder.as_uri()}/%2e%2e/x": "leads out of",
        f"{local.folder.as_uri()}/out/passwd": "leads out of",
        "file://elsewhere/x": "another machine",
        local.folder.as_uri(): "not a regular file",
    }
    for url, reason in wrong.items():
        with pytest.raises(TeaclaveException, match=reason):
            ada.register_input_file(url, *crypto, NO_TAG)
        with pytest.raises(TeaclaveException, match=reason):
            ada.register_output_file(url, *crypto)
    with pytest.raises(TeaclaveException, match="not base64"):
        ada.register_input_file("data:text/plain;base64,?", *crypto, NO_TAG)
    with pytest.raises(TeaclaveException, match="'data' are not served"):
        ada.register_output_file("data:text/plain;base64,AAAA", *crypto)


def test_a_redirect_off_this_machine_is_not_followed(local: Local, ada: FrontendService) -> None:
    with serving() as server:
        url = server.put("/input.enc", b"", location="http://192.0.2.1/x")
        assert "leads to http://192.0.2.1/x" in failed(local, ada, url, NO_TAG)


def failed(local: Local, client: FrontendService, url: str, tag: bytes) -> str:
    """Why a task fails that reads an address; the task ends as Teaclave's does."""
    task = copy_task(client, register_copy(client), ["ada"], ["ada"])
    data = client.register_input_file(url, "aes-gcm-128", *SCHEMAS["aes-gcm-128"], tag)
    output = client.register_output_file(local.url(fresh(local)), "aes-gcm-128", *SCHEMAS["aes-gcm-128"])
    client.assign_data_to_task(task, [DataMap("in", data)], [DataMap("out", output)])
    client.invoke_task(task)
    assert client.get_task_result(task) == b""
    reason: str = client.get_task(task)["result"]["Err"]["reason"]
    return reason


def test_files_that_are_altered_or_others_are_not_read(local: Local, ada: FrontendService) -> None:
    name = fresh(local)
    data, tag = encrypted("aes-gcm-128", CONTENT, name)
    for content, its_tag, reason in (
        (data, NO_TAG, f"its tag is {tag.hex()}, it was registered with {NO_TAG.hex()}"),
        (bytes([data[0] ^ 1]) + data[1:], tag, "was altered, or encrypted with another key or iv"),
        (b"short", tag, "too short for aes-gcm-128"),
    ):
        (local.folder / name).write_bytes(content)
        assert reason in failed(local, ada, local.url(name), its_tag)
    (local.folder / name).unlink()
    assert "No such file" in failed(local, ada, local.url(name), tag)


def test_wrong_keys_and_tags_are_refused_when_a_file_is_registered(local: Local, ada: FrontendService) -> None:
    wrong = [
        ("aes-gcm-512", KEY, IV, NO_TAG, "Invalid crypto schema: aes-gcm-512"),
        ("aes-gcm-128", KEY, IV, NO_TAG, "Invalid key length for aes-gcm-128: 32, not 16"),
        ("aes-gcm-256", KEY, b"", NO_TAG, "Invalid iv length for aes-gcm-256: 0, not 12"),
        ("teaclave-file-128", KEY[:16], IV, NO_TAG, "Invalid iv length"),
        ("aes-gcm-128", KEY[:16], IV, b"short", "Invalid length: the cmac has 5 bytes"),
    ]
    for schema, key, iv, tag, reason in wrong:
        with pytest.raises(TeaclaveException, match=reason):
            ada.register_input_file(local.url("x"), schema, key, iv, tag)
    with pytest.raises(TeaclaveException, match="raw is for inputs only"):
        ada.register_output_file(local.url("x"), "raw", b"", b"")


def test_an_output_never_replaces_a_file(local: Local, ada: FrontendService) -> None:
    task, name = copy_task(ada, register_copy(ada), ["ada"], ["ada"]), fresh(local)
    output = ada.register_output_file(local.url(name), "aes-gcm-128", *SCHEMAS["aes-gcm-128"])
    data = register_input(ada, local, name + ".in")
    (local.folder / name).write_bytes(b"precious")
    ada.assign_data_to_task(task, [DataMap("in", data)], [DataMap("out", output)])
    ada.invoke_task(task)
    assert ada.get_task_result(task) == b""
    assert "there is a file already" in ada.get_task(task)["result"]["Err"]["reason"]
    assert (local.folder / name).read_bytes() == b"precious"


# What must not end it


def test_what_is_no_request_ends_nothing_but_its_connection(local: Local, ada: FrontendService) -> None:
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 8, b"\xff" * 64, b"\0" * 7 + b"\5hello", b"\0" * 7 + b"\2{}"):
        for port in (local.frontend, local.authentication):
            with connected(port) as connection:
                connection.sendall(data)
    for fields in (b"\xff\xff\xff", b"\x0a\xff", os.urandom(100)):
        with pytest.raises(TeaclaveException):
            ada.call("CreateTask", fields)
    with pytest.raises(TeaclaveException, match="UNIMPLEMENTED"):
        ada.call("NoSuchMethod", [])
    answer_to_nonsense = "there is no request 'sing'"
    with connected(local.frontend) as connection:
        assert answer_to_nonsense in asked(connection, "sing", {}, {})["request_error"]
        assert "cannot be made of this" in asked(connection, "get_task", {"x": 1}, {})["request_error"]
    assert ada.call("ListFunctions", [(1, "ada")]) is not None


def test_a_message_is_no_larger_than_teaclave_s(ada: FrontendService) -> None:
    with pytest.raises(TeaclaveException, match="RESOURCE_EXHAUSTED"):
        ada.register_function("large", "", "wamr", payload=bytes(5 << 20))
    assert ada.register_function("small", "", "wamr", payload=bytes(3 << 20))


def test_a_payload_that_is_no_module_fails_with_the_reason(ada: FrontendService) -> None:
    function = ada.register_function("rubbish", "", "wamr", payload=b"rubbish")
    task = ada.create_task(function, {}, "wamr")
    ada.invoke_task(task)
    with pytest.raises(TeaclaveException, match="Runtime Error: the payload: is not a WebAssembly module"):
        ada.get_task_result(task)


def test_a_task_that_runs_can_be_cancelled(ada: FrontendService) -> None:
    task = plain_task(ada, ENDLESS)
    ada.invoke_task(task)
    while ada.get_task(task)["status"] != 4:
        time.sleep(0.05)
    ada.cancel_task(task)
    with pytest.raises(TeaclaveException, match="Task Canceled by the user"):
        ada.get_task_result(task)
    with pytest.raises(TeaclaveException, match="it is canceled already"):
        ada.cancel_task(task)


@pytest.mark.slow
def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    with running(tmp_path, "--seconds", "0.5") as local:
        client = local.add_user("ada")
        task = plain_task(client, ENDLESS)
        client.invoke_task(task)
        with pytest.raises(TeaclaveException, match=r"Runtime Error: the payload timed out after 0\.5 s"):
            client.get_task_result(task)
        assert client.get_task(task)["status"] == 99


def test_a_port_that_is_taken_is_told(local: Local) -> None:
    words = ["--authentication-port", str(local.authentication), "--frontend-port", "0"]
    environ = environment({"PYTHONPATH": str(ROOT / "site_scons")})
    command = [sys.executable, "-P", "-m", "onnx_wasm", "teaclave-local", *words]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 2
    assert run.stderr.startswith(f"teaclave-local: cannot listen on 127.0.0.1:{local.authentication}: ")


def test_it_listens_on_this_machine_only(local: Local) -> None:
    certificate = ssl.get_server_certificate(("127.0.0.1", local.frontend))
    assert "BEGIN CERTIFICATE" in certificate
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    port = f":{local.frontend:04X}"
    assert {line.split()[1] for line in listening if line.split()[1].endswith(port)} >= {f"0100007F{port}"}
    assert f"00000000{port}" not in " ".join(line.split()[1] for line in listening)


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "grpc.py").write_text("raise ModuleNotFoundError('No module named grpc', name='grpc')")
    environ = environment({"PYTHONPATH": f"{tmp_path}:{ROOT / 'site_scons'}"})
    command = [sys.executable, "-P", "-m", "onnx_wasm", "teaclave-local"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 2
    first, second = run.stderr.splitlines()
    assert first == "teaclave-local: needs the package grpc"
    assert second == "    ./sconsw setup full brings it; elsewhere python -m pip install 'onnx-wasm[teaclave]'"
