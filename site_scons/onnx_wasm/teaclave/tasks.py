"""Files, functions and tasks, and what may be done with a task when, and by whom.

A task goes from one state to the next: created, data assigned, approved, staged, running, finished. The rules are those
of ``types/src/task_state.rs`` and ``services/management`` of apache/incubator-teaclave (branch legacy).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import IntEnum

from onnx_wasm.teaclave.file_crypto import FileCrypto
from onnx_wasm.teaclave.refusal import Code, Refusal, denied, invalid

Owners = Mapping[str, frozenset[str]]
"""Who owns each file of a task, by the file's name in it."""


@dataclass(frozen=True)
class InputFile:
    """A file that tasks can read.

    Args:
        id: What stands for it.
        url: Where it is.
        tag: What vouches for it.
        crypto: How it is encrypted.
        owners: Whose it is.
    """

    id: str
    url: str
    tag: bytes
    crypto: FileCrypto
    owners: frozenset[str]


@dataclass(frozen=True)
class OutputFile:
    """A file that one task can write; ``tag`` is empty until it has."""

    id: str
    url: str
    crypto: FileCrypto
    owners: frozenset[str]
    tag: bytes = b""


@dataclass(frozen=True)
class Argument:
    """An argument of a function; one that may not be overwritten has its default in every task."""

    key: str
    default: str
    overwritable: bool


@dataclass(frozen=True)
class DataName:
    """An input or output of a function, by the name that its tasks know it by."""

    name: str
    description: str
    optional: bool


@dataclass(frozen=True)
class Function:
    """A payload, and what its tasks need.

    Args:
        id: What stands for it.
        owner: Who registered it.
        name: For people.
        description: For people.
        public: Whether all may use it. If not, its owner has to approve every task.
        payload: The WebAssembly module.
        arguments: What each task is given.
        inputs: The files that it reads.
        outputs: The files that it writes.
        allowed: If it is not public: who may use it.
        quota: How many tasks may run it; None for no limit.
        used: How many have.
        disabled: Whether it is left out of lists.
    """

    id: str
    owner: str
    name: str
    description: str
    public: bool
    payload: bytes = field(repr=False)
    arguments: tuple[Argument, ...]
    inputs: tuple[DataName, ...]
    outputs: tuple[DataName, ...]
    allowed: tuple[str, ...]
    quota: int | None
    used: int = 0
    disabled: bool = False


class Status(IntEnum):
    """How far a task has come; the numbers are those of the protocol."""

    CREATED = 0
    DATA_ASSIGNED = 1
    APPROVED = 2
    STAGED = 3
    RUNNING = 4
    FINISHED = 10
    CANCELED = 20
    FAILED = 99


@dataclass(frozen=True)
class Result:
    """What came of a task.

    Args:
        value: What the function returned; None if there is a reason instead.
        tags: The tag of each output's file, by the output's name.
        reason: Why there is no value.
    """

    value: bytes | None
    tags: Mapping[str, bytes] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Task:
    """One call of a function on files of one or several owners.

    Args:
        id: What stands for it.
        creator: Who created it, and alone may invoke it.
        function: The function's id.
        function_owner: The function's owner.
        arguments: A value for each argument; text, or what else JSON has.
        input_owners: Who owns each input.
        output_owners: Who owns each output.
        participants: All owners of files, the creator, and the owner of a function that is not public.
        approved: Those who approved.
        inputs: The files assigned.
        outputs: The files assigned.
        status: How far it has come.
        result: What came of it, if it has ended.
    """

    id: str
    creator: str
    function: str
    function_owner: str
    arguments: Mapping[str, object]
    input_owners: Owners
    output_owners: Owners
    participants: frozenset[str]
    approved: frozenset[str] = frozenset()
    inputs: Mapping[str, InputFile] = field(default_factory=dict)
    outputs: Mapping[str, OutputFile] = field(default_factory=dict)
    status: Status = Status.CREATED
    result: Result | None = None

    def assigned(self, user: str, inputs: Mapping[str, InputFile], outputs: Mapping[str, OutputFile]) -> Task:
        """The task with a user's files.

        Raises:
            Refusal: The user has no part in it or does not own a file, the task wants another owner's or knows no such
                name, it has such a file already, or it takes no files any more.
        """
        self.check_participant(user)
        if self.status is not Status.CREATED:
            raise self._not_now("failed to assign data to task")
        for name, input_ in inputs.items():
            _check_file(user, name, input_, self.input_owners, self.inputs)
        for name, output in outputs.items():
            _check_file(user, name, output, self.output_owners, self.outputs)
            if output.tag:
                raise denied(f"{output.id} has been written by another task")
        return _moved_on(replace(self, inputs={**self.inputs, **inputs}, outputs={**self.outputs, **outputs}))

    def approved_by(self, user: str) -> Task:
        """The task with a user's approval.

        Raises:
            Refusal: The user has no part in it, or it waits for files, or for no approval any more.
        """
        moved = _moved_on(self)
        if moved.status is not Status.DATA_ASSIGNED:
            raise self._not_now("failed to approve task")
        self.check_participant(user)
        approved = replace(moved, approved=self.approved | {user})
        return replace(approved, status=Status.APPROVED) if approved.all_approved else approved

    def staged(self, user: str) -> Task:
        """The task, ready to run.

        Raises:
            Refusal: The user is not its creator, files or approvals are missing, or it was invoked before.
        """
        self.check_creator(user)
        moved = _moved_on(self)
        if moved.status not in (Status.DATA_ASSIGNED, Status.APPROVED) or not moved.all_approved:
            raise self._not_now("failed to invoke task")
        return replace(moved, status=Status.STAGED)

    def ended(self, status: Status, result: Result) -> Task:
        """The task with its result."""
        outputs = {name: replace(it, tag=result.tags.get(name, it.tag)) for name, it in self.outputs.items()}
        return replace(self, status=status, result=result, outputs=outputs)

    @property
    def words(self) -> dict[str, str]:
        """The arguments as the payload gets them."""
        return {key: it if isinstance(it, str) else as_json(it) for key, it in self.arguments.items()}

    @property
    def has_ended(self) -> bool:
        return self.status >= Status.FINISHED

    @property
    def all_approved(self) -> bool:
        """Whether nobody's approval is missing; who is alone in a task approves by invoking it."""
        return len(self.participants) == 1 or self.participants == self.approved

    def check_participant(self, user: str) -> None:
        """Refuses who has no part in the task."""
        if user not in self.participants:
            raise denied(f"{user} has no part in {self.id}")

    def check_creator(self, user: str) -> None:
        """Refuses who did not create the task."""
        if user != self.creator:
            raise denied(f"{self.id} was created by another user")

    def _not_now(self, what: str) -> Refusal:
        lacking = [
            *(f'input "{name}"' for name in self.input_owners if name not in self.inputs),
            *(f'output "{name}"' for name in self.output_owners if name not in self.outputs),
            *([] if self.all_approved else [f"the approval of {_listed(self.participants - self.approved)}"]),
        ]
        waits = f"; it lacks {', '.join(lacking)}" if lacking and self.status < Status.STAGED else ""
        return Refusal(Code.UNKNOWN, f"{what}: it is {self.status.name.lower().replace('_', ' ')}{waits}")


def create(
    id_: str, creator: str, function: Function, arguments: str, input_owners: Owners, output_owners: Owners
) -> Task:
    """Creates a task.

    Args:
        id_: What will stand for it.
        creator: Who creates it.
        function: What it will run.
        arguments: An object as JSON: a value for each argument that may be overwritten.
        input_owners: Who owns each input; optional ones may be left out.
        output_owners: Who owns each output; optional ones may be left out.

    Raises:
        Refusal: Something of it is not as the function declares it.
    """
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        raise Refusal(Code.INTERNAL, f"function_arguments are not JSON: {error}") from error
    if not isinstance(given, dict):
        raise Refusal(Code.INTERNAL, "function_arguments are no object")
    wanted = {it.key for it in function.arguments if it.overwritable}
    _same("function_arguments", set(given), wanted, wanted)
    files = (("input", input_owners, function.inputs), ("output", output_owners, function.outputs))
    for kind, owners, declared in files:
        needed = {it.name for it in declared if not it.optional}
        _same(f"{kind} keys", owners.keys(), needed, {it.name for it in declared})
    everybody = frozenset().union(*input_owners.values(), *output_owners.values(), {creator})
    fixed = {it.key: it.default for it in function.arguments if not it.overwritable}
    return Task(
        *(id_, creator, function.id, function.owner, {**given, **fixed}, input_owners, output_owners),
        participants=everybody if function.public else everybody | {function.owner},
    )


def _moved_on(task: Task) -> Task:
    """The task with its data assigned, if nothing is missing."""
    complete = task.inputs.keys() == task.input_owners.keys() and task.outputs.keys() == task.output_owners.keys()
    return replace(task, status=Status.DATA_ASSIGNED) if complete and task.status is Status.CREATED else task


def _check_file(
    user: str, name: str, file: InputFile | OutputFile, owners: Owners, assigned: Mapping[str, object]
) -> None:
    """Refuses a file that is not the user's, or not the one that the task waits for under a name."""
    if user not in file.owners:
        raise denied(f"{file.id} is not of {user}")
    if name not in owners:
        raise denied(f'the task has no such file "{name}"; its files: {_listed(owners)}')
    if owners[name] != file.owners:
        raise denied(f'"{name}" has to be a file of {_listed(owners[name])}, not of {_listed(file.owners)}')
    if name in assigned:
        raise denied(f'"{name}" is assigned already')


def as_json(value: object) -> str:
    """A value, or all arguments, as serde_json writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _same(what: str, given: AbstractSet[str], needed: AbstractSet[str], known: AbstractSet[str]) -> None:
    wrong = [
        *([f"missing {_listed(needed - given)}"] if needed - given else []),
        *([f"unknown {_listed(given - known)}"] if given - known else []),
    ]
    if wrong:
        raise invalid(f"invalid task: {what} mismatch: {', '.join(wrong)}")


def _listed(names: AbstractSet[str] | Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
