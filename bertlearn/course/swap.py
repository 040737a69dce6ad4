"""Put the learner's own functions into the package's model, and see where the two part ways."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bertlearn.course.exercise import is_stub
from bertlearn.model import bert
from bertlearn.model.bert import AttentionOutput
from bertlearn.tokenizer import wordpiece, words
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

Function = Callable[..., Any]

_MODULES = (bert, words, wordpiece)
_HOMES = {module.__name__ for module in _MODULES}
_PLACES: dict[str, list[Any]] = {}  # function name: the modules whose code looks it up
for _module in _MODULES:
    for _name, _value in vars(_module).items():
        if inspect.isfunction(_value) and _value.__module__ in _HOMES and _name[0] != "_":
            _PLACES.setdefault(_name, []).append(_module)


@contextmanager
def use(**mine: Function) -> Iterator[None]:
    """Let the package run on your own functions for the length of a `with` block.

    `with use(layer_norm=mine): model(ids)` calls `mine` wherever the package calls `layer_norm`. Yours takes
    the same arguments by position; `scaled_dot_product_attention` may leave out `dropout_p`, and stands in
    for the fused kernel too.

    Raises:
        ValueError: a name that the package has no function for, or something that cannot be called.
    """
    for name, function in mine.items():
        _check(name, function)
    if "scaled_dot_product_attention" in mine:
        mine = {**mine, **_both_paths(mine["scaled_dot_product_attention"])}
    before = [(place, name, getattr(place, name)) for name in mine for place in _PLACES[name]]
    before.append((WordPieceTokenizer, "caches_words", WordPieceTokenizer.caches_words))
    try:
        WordPieceTokenizer.caches_words = False  # what it remembers was split by the package's functions
        for name, function in mine.items():
            for place in _PLACES[name]:
                setattr(place, name, function)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def _check(name: str, function: Function) -> None:
    if name not in _PLACES:
        raise ValueError(
            f"the package has no function {name!r} to replace; choose one of {', '.join(sorted(_PLACES))}"
        )
    if not callable(function):
        raise ValueError(
            f"{name} is {type(function).__name__}, expected a function; give it without calling it"
        )


def _both_paths(mine: Function) -> dict[str, Function]:
    """Return the learner's attention in the shape of the written-out path and of the fused one."""

    def written_out(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0
    ) -> AttentionOutput:
        return AttentionOutput(*mine(query, key, value, mask))

    def fused(*args: Any) -> Tensor:
        return written_out(*args).context

    return {"scaled_dot_product_attention": written_out, "fused_attention": fused}


@dataclass(frozen=True)
class Comparison:
    """Largest difference at each step of a model, in the order the steps are computed (see `_largest`)."""

    names: str  # of the functions swapped in
    differences: dict[str, float]  # module name: largest difference
    tolerance: float
    error: str | None = None
    attempted: bool = True

    @property
    def first_difference(self) -> str | None:
        """The first step whose output differs by more than the tolerance (or is NaN)."""
        wrong = (step for step, size in self.differences.items() if not size <= self.tolerance)
        return next(wrong, None)

    @property
    def ok(self) -> bool:
        """Whether the model ran and no step differs."""
        return self.attempted and self.error is None and self.first_difference is None

    def __repr__(self) -> str:
        """Say in a line or two where the two models part."""
        if not self.attempted:
            return f"– {self.names} in the model: not attempted yet"
        if self.error is not None:
            return f"✗ {self.names} in the model: {self.error}"
        first = self.first_difference
        if first is None:
            largest = max(self.differences.values())
            return f"✓ the model runs on your own {self.names}; largest difference {largest:.0e}"
        return (
            f"✗ {self.names}: the first step that differs is {first}, by {self.differences[first]:.4f}\n"
            f"  {list(self.differences).index(first)} of {len(self.differences)} steps before it agree"
        )


def compare_layers(
    model: nn.Module, batch: dict[str, Tensor], tolerance: float = 1e-4, **mine: Function
) -> Comparison:
    """Run `model` as it is and on your functions, and compare every step.

    Args:
        model: a model of this package, in evaluation mode.
        batch: what to call it with, by name: `input_ids`, `attention_mask`, …
        tolerance: the largest difference that counts as the same, relative to a step's largest number.
        mine: functions as for `use`.
    """
    if not mine:
        raise ValueError("no function to compare with; name one, such as layer_norm=layer_norm")
    for name, function in mine.items():
        _check(name, function)
    names, called = ", ".join(mine), set[str]()
    reference = _trace(model, batch)
    try:
        with use(**{name: _noted(name, function, called) for name, function in mine.items()}):
            yours = _trace(model, batch)
    except Exception as error:
        if is_stub(error):
            return Comparison(names, {}, tolerance, attempted=False)
        return Comparison(names, {}, tolerance, error=f"it stops with {type(error).__name__}: {error}")
    if called != set(mine):
        return Comparison(
            names, {}, tolerance, error=f"it never calls {', '.join(sorted(set(mine) - called))}"
        )
    sizes = {step: _largest(yours[step], reference[step]) for step in reference}
    return Comparison(names, sizes, tolerance)


def _noted(name: str, function: Function, called: set[str]) -> Function:
    """Return the function so that each call leaves its name in `called`."""

    def noted(*args: Any) -> Any:
        called.add(name)
        return function(*args)

    return noted


def _trace(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Run the model and keep each module's output, named, in the order the modules finish."""
    steps: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, tuple):
                output = output[0]
            if isinstance(output, Tensor):
                steps[name] = output

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return steps


def _largest(one: Tensor, other: Tensor) -> float:
    """Return the largest difference, as a share of the step's largest number where that is over 1."""
    if one.shape != other.shape:
        return float("inf")
    return ((one - other).abs().max() / other.abs().max().clamp(min=1)).item()
