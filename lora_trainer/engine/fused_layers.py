"""LoRA layers, gated blocks and RMS norms in fewer passes over memory: the sums of PEFT and transformers, to rounding.

A layer is W x + s B A x (Hu et al., 2021, arXiv:2106.09685): the adapter's part is added by the matrix product itself.
A gated feed-forward block, down(act(gate(x)) * up(x)), keeps two of its five large intermediate values for the way
back, and has the sum of its gradients built in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch.nn import functional


class _Layer(NamedTuple):
    weight: Any
    """Frozen, (O, I)."""
    bias: Any
    """(O,) or None."""
    a: Any
    """(R, I)."""
    b: Any
    """(O, R)."""
    scale: float

    def forward(self, rows: Any, out: Any = None) -> tuple[Any, Any]:
        """(N, I) -> (N, O), written into `out` where that is given, and A x (N, R) for the way back."""
        low = rows @ self.a.T
        if out is None:
            out = functional.linear(rows, self.weight, self.bias)
        elif self.bias is None:
            torch.mm(rows, self.weight.T, out=out)
        else:
            torch.addmm(self.bias, rows, self.weight.T, out=out)
        return out.addmm_(low, self.b.T, alpha=self.scale), low

    def backward(self, upstream: Any, rows: Any, low: Any, into: Any = None, *, want: bool = True) -> tuple[Any, ...]:
        """The gradients of x (N, I), added to those `into`, of A and of B, from that of the output (N, O)."""
        low_upstream = (upstream @ self.b).mul_(self.scale)
        x = None
        if want:
            x = upstream @ self.weight if into is None else into.addmm_(upstream, self.weight)
            x.addmm_(low_upstream, self.a)
        return x, low_upstream.T @ rows, (upstream.T @ low).mul_(self.scale)


class _FusedLinear(torch.autograd.Function):
    """x (..., I) -> (..., O)."""

    @staticmethod
    def forward(ctx: Any, x: Any, *layer: Any) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        # not a view, which no model may change in place (OLMo's clip_qkv does) where a function of ours gives it
        out = x.new_empty(*x.shape[:-1], len(layer[0]))
        _, low = _Layer(*layer).forward(rows, out.view(len(rows), -1))
        ctx.save_for_backward(rows, low, *layer[:-1])
        ctx.scale = layer[-1]
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        rows, low, *tensors = ctx.saved_tensors
        flat = upstream.reshape(-1, upstream.shape[-1])
        x, a, b = _Layer._make([*tensors, ctx.scale]).backward(flat, rows, low, want=ctx.needs_input_grad[0])
        return None if x is None else x.view(*upstream.shape[:-1], -1), None, None, a, b, None


class _FusedGated(torch.autograd.Function):
    """x (..., H) -> down(act(gate(x)) * up(x)) (..., H)."""

    @staticmethod
    def forward(ctx: Any, x: Any, activation: _Activation, *layers: Any) -> Any:
        gate, up, down = (_Layer(*layers[i : i + 5]) for i in (0, 5, 10))
        rows = x.reshape(-1, x.shape[-1])
        gated, gate_low = gate.forward(rows)
        raised, up_low = up.forward(rows)
        out = x.new_empty(x.shape)
        _, down_low = down.forward(activation.forward(gated).mul_(raised), out.view(rows.shape))
        ctx.save_for_backward(rows, gated, raised, gate_low, up_low, down_low, *gate[:-1], *up[:-1], *down[:-1])
        ctx.scales, ctx.activation = (gate.scale, up.scale, down.scale), activation
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        rows, gated, raised, gate_low, up_low, down_low, *tensors = ctx.saved_tensors
        gate, up, down = (_Layer._make([*tensors[4 * i : 4 * i + 4], ctx.scales[i]]) for i in range(3))
        flat = upstream.reshape(-1, upstream.shape[-1])
        active = ctx.activation.forward(gated)
        product = active * raised
        inner, *down_ab = down.backward(flat, product, down_low)
        raised_upstream = active.mul_(inner)
        gated_upstream = ctx.activation.backward(inner.mul_(raised), gated, product)
        x, *up_ab = up.backward(raised_upstream, rows, up_low)
        x, *gate_ab = gate.backward(gated_upstream, rows, gate_low, into=x)
        frozen = (None, None)
        return (x.view(upstream.shape), None, *frozen, *gate_ab, None, *frozen, *up_ab, None, *frozen, *down_ab, None)


class _FusedNorm(torch.autograd.Function):
    """x (..., H) -> x / sqrt(mean(x^2) + eps) * scale (Zhang and Sennrich, 2019, arXiv:1910.07467), scale frozen."""

    @staticmethod
    def forward(ctx: Any, x: Any, scale: Any, epsilon: float) -> Any:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, scale, inverse)
        return (x * inverse).mul_(scale)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        x, scale, inverse = ctx.saved_tensors
        scaled = upstream * scale
        along = torch.linalg.vecdot(scaled, x)[..., None] * inverse.pow(3) / x.shape[-1]
        return scaled.mul_(inverse).addcmul_(x, along, value=-1), None, None


class _Activation(NamedTuple):
    forward: Callable[[Any], Any]
    backward: Callable[[Any, Any, Any], Any]
    """From the gradient of the output and the input, written to a third tensor."""


def _silu_backward(upstream: Any, x: Any, out: Any) -> Any:
    return torch.ops.aten.silu_backward.grad_input(upstream, x, grad_input=out)


def _gelu_backward(upstream: Any, x: Any, out: Any) -> Any:
    return torch.ops.aten.gelu_backward.grad_input(upstream, x, approximate="tanh", grad_input=out)


_SILU = _Activation(functional.silu, _silu_backward)
_GELU = _Activation(lambda x: functional.gelu(x, approximate="tanh"), _gelu_backward)

_PROVEN = 2e-5
"""How far a fused block's values and gradients may be from its own, relative to them: float32 rounds ten times finer,
and those of the exact GELU are ten times as far from those of its tanh form."""


def fuse_layers(model: Any) -> None:
    """Let the plain LoRA layers of a PEFT model, gated blocks of them, and RMS norms compute in this way.

    Changes `model` in place: the forward of those modules, each only where it is of the known form, and a block or a
    norm only where it is seen to compute the same. All of it is for float32 weights, norms also for a CPU alone; what
    has another type, dropout or 4 bits keeps its own way, and so does a layer whose adapter is switched off or merged.
    """
    blocks: dict[str, Any] = {}
    for name, module in list(model.named_modules()):
        scale = _norm_scale(module)
        if scale is not None:
            module.forward = MethodType(_norm_forward(scale, _epsilon(module), module.forward), module)
        elif _is_plain(module):
            module.forward = MethodType(_linear_forward, module)
        elif (activation := _gated_activation(module)) is not None:
            module.forward = MethodType(_gated_forward(activation, module.forward), module)
            module.positions = None
            blocks[name] = module
    # a layer's own, not a part of what routes its tokens to experts
    last = re.compile(rf".*\.{model.config.get_text_config().num_hidden_layers - 1}\.\w+")
    if found := [block for name, block in blocks.items() if last.fullmatch(name)]:
        # in a tuple, or it would be a second module of the same weights, and saved twice
        model.last_block = tuple(found[:1])


@contextmanager
def last_block_at(model: Any, rows: Any, columns: Any) -> Iterator[None]:
    """Within, the last layer's feed-forward block computes only the positions of (B, T) that are asked for.

    What it gives at the others is zero: nothing comes behind it that would look at them.
    """
    inner = getattr(model, "module", model)
    (block,) = getattr(inner, "last_block", (None,))
    # where activations are recomputed this has ended by then
    if block is None or getattr(inner, "is_activation_checkpointing", True):
        yield
        return
    block.positions = rows, columns
    try:
        yield
    finally:
        block.positions = None


def _epsilon(norm: Any) -> float:
    return float(getattr(norm, "variance_epsilon", None) or getattr(norm, "eps", None) or 0.0)


def _norm_scale(norm: Any) -> Any:
    """The factors (H,) of a frozen float32 RMS norm on a CPU, found and proven by what it computes; None for others."""
    if not type(norm).__name__.endswith("RMSNorm"):
        return None
    weights = list(norm.parameters())
    if len(weights) != 1 or weights[0].dim() != 1:
        return None
    (weight,) = weights
    if weight.requires_grad or weight.dtype is not torch.float32 or weight.device.type != "cpu":
        return None
    epsilon = _epsilon(norm)
    with torch.no_grad():
        scale = norm(torch.ones_like(weight)[None])[0] * (1 + epsilon) ** 0.5
        # so small that another epsilon, 0 for 1e-6, changes the values by 2e-3; float32 rounds them by 1e-7
        x = torch.linspace(-0.02, 0.03, 2 * len(weight)).view(1, 2, -1)
        proven = torch.allclose(_FusedNorm.apply(x, scale, epsilon), norm(x), rtol=1e-4, atol=1e-6)
    return scale if proven else None


def _norm_forward(scale: Any, epsilon: float, usual: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def forward(_: Any, x: Any) -> Any:
        if x.dtype is not torch.float32 or x.device.type != "cpu":
            return usual(x)
        return _FusedNorm.apply(x, scale, epsilon)

    return forward


def _is_plain(layer: Any) -> bool:
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or len(layer.lora_A) != 1:
        return False
    (adapter,) = layer.lora_A
    base = layer.base_layer
    return (
        type(base) is torch.nn.Linear
        and base.weight.dtype is torch.float32
        and not base.weight.requires_grad
        and adapter not in layer.lora_variant
        and layer.lora_B[adapter].bias is None
        and isinstance(layer.lora_dropout[adapter], torch.nn.Identity)
    )


def _gated_activation(block: Any) -> _Activation | None:
    """The activation of a gated block, found by what it computes: configurations have several names for it."""
    return next((activation for activation in (_SILU, _GELU) if _is_gated(block, activation)), None)


def _is_gated(block: Any, activation: _Activation) -> bool:
    """Whether a block is of the known form, by its parts and by its values and gradients."""
    parts: list[Any] = [getattr(block, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if not all(map(_is_plain, parts)) or len(list(block.children())) != 4:
        return False
    layers = [_layer(layer) for layer in parts]
    x = torch.linspace(-3, 3, 2 * parts[0].in_features, device=layers[0].weight.device).view(1, 2, -1).requires_grad_()
    learnt = [x, *(factor for layer in layers for factor in (layer.a, layer.b))]
    with torch.enable_grad():
        ours = _FusedGated.apply(x, activation, *(part for layer in layers for part in layer))
        theirs = block(x)
        pairs = zip(*((out, *torch.autograd.grad(out, learnt, x)) for out in (ours, theirs)), strict=True)
    return all((one - other).norm() <= _PROVEN * other.norm() for one, other in pairs)


def _layer(layer: Any) -> _Layer:
    (adapter,) = layer.lora_A
    base = layer.base_layer
    return _Layer(
        base.weight, base.bias, layer.lora_A[adapter].weight, layer.lora_B[adapter].weight, layer.scaling[adapter]
    )


def _usual(layer: Any, x: Any) -> bool:
    return not (layer.disable_adapters or layer.merged or x.dtype is not torch.float32)


def _linear_forward(layer: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    if args or kwargs or not _usual(layer, x):
        return type(layer).forward(layer, x, *args, **kwargs)
    return _FusedLinear.apply(x, *_layer(layer))


def _gated_forward(activation: _Activation, usual: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def forward(block: Any, x: Any) -> Any:
        parts = (block.gate_proj, block.up_proj, block.down_proj)
        if not all(_usual(part, x) for part in parts):
            return usual(x)
        layers = [part for layer in parts for part in _layer(layer)]
        if block.positions is None or x.dim() != 3:
            return _FusedGated.apply(x, activation, *layers)
        return torch.zeros_like(x).index_put(
            block.positions, _FusedGated.apply(x[block.positions], activation, *layers)
        )

    return forward
