"""Hooks that copy what a model computes, and change nothing in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.errors import HarnessError, UsageError

_SOFTMAX = "softmax_no_cast"

Take = Callable[[torch.Tensor], None]


def copied(tensor: torch.Tensor) -> np.ndarray:
    """Copy a tensor to main memory as float32: inference works in place, so that the model's own would change."""
    kept = tensor.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)
    return np.asarray(kept.numpy())


def without_batch(tensor: torch.Tensor, axes: int, what: str) -> torch.Tensor:
    """Drop leading axes of length 1.

    Parameters
    ----------
    tensor : Tensor
        What the model gave.
    axes : int
        How many axes are wanted.
    what : str
        Name in the error.

    Returns
    -------
    Tensor
        A view.

    Raises
    ------
    HarnessError
        When other axes are left.
    """
    while tensor.ndim > axes and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != axes:
        raise HarnessError(f"{what} has shape {tuple(tensor.shape)} where {axes} axes were expected.")
    return tensor


class _Call:
    """One run of a watched attention module."""

    def __init__(self, name: str, take: Take) -> None:
        self.name, self.take, self.seen = name, take, 0


@contextmanager
def watched_attention(primitives: ModuleType, modules: Mapping[nn.Module, tuple[str, Take]]) -> Iterator[None]:
    """Copy the attention weights of modules, which a model computes and never returns.

    OpenFold's attention takes its softmax from one function of its module; that function is wrapped meanwhile, and
    hooks before and after each module say which of them called it.

    Parameters
    ----------
    primitives : module
        The module of the model's code that holds ``softmax_no_cast`` and the attention that calls it.
    modules : mapping of Module to (str, callable)
        The modules to watch, each with its name for errors and with what takes its weights.

    Raises
    ------
    UsageError
        When the code has no such function.
    HarnessError
        From within the model, when a module ran without one softmax: a memory-efficient kernel never forms the
        weights, and an archive with holes is no trace.
    """
    original = getattr(primitives, _SOFTMAX, None)
    if original is None:
        raise UsageError(f"{primitives.__name__} has no {_SOFTMAX}: its attention cannot be seen; use another version.")
    active: list[_Call] = []

    def softmax(*arguments: Any, **options: Any) -> torch.Tensor:
        weights: torch.Tensor = original(*arguments, **options)
        if active:
            active[-1].seen += 1
            active[-1].take(weights)
        return weights

    def before(module: nn.Module, _: Any) -> None:
        active.append(_Call(*modules[module]))

    def after(_: nn.Module, __: Any, ___: Any) -> None:
        call = active.pop()
        if call.seen != 1:
            raise HarnessError(
                f"{call.name} formed its attention weights {call.seen} times in one call: a memory-efficient kernel "
                "(DeepSpeed, flash, cuEquivariance, Triton or low-memory attention) or chunking hides them; switch it "
                "off."
            )

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(after).remove)
        stack.callback(setattr, primitives, _SOFTMAX, original)
        setattr(primitives, _SOFTMAX, softmax)
        yield


@contextmanager
def watched_outputs(hooks: Iterable[tuple[nn.Module, Callable[[Any], None]]]) -> Iterator[None]:
    """Show the outputs of modules to functions while the block runs.

    Parameters
    ----------
    hooks : iterable of (Module, callable)
        Each function is called with what its module returned, and must not change it.
    """
    with ExitStack() as stack:
        for module, see in hooks:

            def after(_: nn.Module, __: Any, output: Any, see: Callable[[Any], None] = see) -> None:
                see(output)

            stack.callback(module.register_forward_hook(after).remove)
        yield


@contextmanager
def watched_starts(module: nn.Module, see: Callable[[], None]) -> Iterator[None]:
    """Call a function each time that a module starts, while the block runs."""

    def before(_: nn.Module, __: Any) -> None:
        see()

    handle = module.register_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()
