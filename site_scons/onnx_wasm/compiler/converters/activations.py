"""The activations that recurrent cells can have, as functions of an element.

Definitions: the attribute ``activations`` of https://onnx.ai/onnx/operators/onnx__LSTM.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tvm import tirx

from onnx_wasm.compiler.frontend.refusal import Refusal

Activation = Callable[[tirx.Expr], tirx.Expr]


def activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    """An activation by its name, in any case of letters.

    Args:
        name: As ONNX has it.
        alphas: The node's parameters alpha, of which it takes one if it has such a parameter.
        betas: The same for beta.
    """
    known = _ACTIVATIONS.get(name.lower())
    if known is None:
        raise Refusal(f'has the activation "{name}"', f"those that can be compiled: {', '.join(_ACTIVATIONS)}")
    function, *defaults = known
    parameters = [next(given, default) for given, default in zip((alphas, betas), defaults, strict=False)]

    def apply(x: tirx.Expr) -> tirx.Expr:
        return function(x, *(tirx.const(it, x.ty.dtype) for it in parameters))

    return apply


def _sigmoid(x: tirx.Expr) -> tirx.Expr:
    return tirx.sigmoid(x)


def _relu(x: tirx.Expr) -> tirx.Expr:
    return tirx.max(x, _number(0, x))


def _leaky_relu(x: tirx.Expr, alpha: tirx.Expr) -> tirx.Expr:
    return tirx.Select(x < _number(0, x), alpha * x, x)


def _thresholded_relu(x: tirx.Expr, alpha: tirx.Expr) -> tirx.Expr:
    return tirx.Select(x > alpha, x, _number(0, x))


def _scaled_tanh(x: tirx.Expr, alpha: tirx.Expr, beta: tirx.Expr) -> tirx.Expr:
    return alpha * tirx.tanh(beta * x)


def _hard_sigmoid(x: tirx.Expr, alpha: tirx.Expr, beta: tirx.Expr) -> tirx.Expr:
    return tirx.max(tirx.min(alpha * x + beta, _number(1, x)), _number(0, x))


def _elu(x: tirx.Expr, alpha: tirx.Expr) -> tirx.Expr:
    return tirx.Select(x < _number(0, x), alpha * (tirx.exp(x) - _number(1, x)), x)


def _softsign(x: tirx.Expr) -> tirx.Expr:
    return x / (_number(1, x) + tirx.abs(x))


def _softplus(x: tirx.Expr) -> tirx.Expr:
    """ln(1 + e^x), where e^x does not overflow."""
    return tirx.max(x, _number(0, x)) + tirx.log(_number(1, x) + tirx.exp(-tirx.abs(x)))


def _affine(x: tirx.Expr, alpha: tirx.Expr, beta: tirx.Expr) -> tirx.Expr:
    return alpha * x + beta


def _number(value: float, like: tirx.Expr) -> tirx.Expr:
    return tirx.const(value, like.ty.dtype)


_ACTIVATIONS: dict[str, tuple[Callable[..., tirx.Expr], *tuple[float, ...]]] = {
    "affine": (_affine, 1.0, 0.0),
    "elu": (_elu, 1.0),
    "hardsigmoid": (_hard_sigmoid, 0.2, 0.5),
    "leakyrelu": (_leaky_relu, 0.01),
    "relu": (_relu,),
    "scaledtanh": (_scaled_tanh, 1.0, 1.0),
    "sigmoid": (_sigmoid,),
    "softplus": (_softplus,),
    "softsign": (_softsign,),
    "tanh": (tirx.tanh,),
    "thresholdedrelu": (_thresholded_relu, 1.0),
}
"""By name in small letters: the function, then the defaults of its parameters alpha and beta."""
