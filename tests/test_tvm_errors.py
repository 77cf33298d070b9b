"""What TVM raises reaches the user as one line, with the model's name and without TVM's own source."""

from __future__ import annotations

import pytest

from onnx_wasm.compiler.tvm_errors import reason, told
from onnx_wasm.errors import BuildError, Problem


def test_of_a_failure_its_last_line_is_told() -> None:
    with pytest.raises(BuildError) as error, told("model.toml", "compile this model"):
        raise RuntimeError("Traceback (most recent call last):\n  0: deep inside\nInternalError: Divide by zero\n")
    (problem,) = error.value.problems
    assert (problem.where, problem.message) == (
        "model.toml",
        "TVM cannot compile this model: InternalError: Divide by zero",
    )


def test_what_the_user_is_told_already_and_what_the_machine_lacks_passes() -> None:
    for raised in (BuildError(Problem("here", "this")), OSError(28, "No space left on device")):
        with pytest.raises(type(raised)) as error, told("model.toml", "compile this model"):
            raise raised
        assert error.value is raised


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ('Size mismatch: ir.Op(span=None, name="relax.quantize", arguments=(…))', "Size mismatch"),
        ("the old shape is R.shape([1, 4]), with product T.int64(4)", "the old shape is [1, 4], with product 4"),
    ],
)
def test_its_own_notation_is_made_plain(said: str, plain: str) -> None:
    assert reason(ValueError(said)) == plain


def test_a_long_line_is_cut() -> None:
    with pytest.raises(BuildError) as error, told("model.toml", "compile this model"):
        raise ValueError("x" * 10_000)
    assert len(str(error.value)) < 600
