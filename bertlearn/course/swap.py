"""Run the package's model on the learner's own functions, and find the first step that differs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bertlearn.course.attempt import is_stub
from bertlearn.course.built import note
from bertlearn.course.verdict import as_html
from bertlearn.model import bert
from bertlearn.model.bert import AttentionOutput
from bertlearn.tokenizer import encoding, unigram, wordpiece, words
from bertlearn.tokenizer.encoding import SubwordTokenizer

Function = Callable[..., Any]

_MODULES = (bert, words, encoding, wordpiece, unigram)
_HOMES = {module.__name__ for module in _MODULES}
_LOOKED_UP_IN: dict[str, list[Any]] = {}  # function name: the modules whose code looks it up
for _module in _MODULES:
    for _name, _value in vars(_module).items():
        if inspect.isfunction(_value) and _value.__module__ in _HOMES and _name[0] != "_":
            _LOOKED_UP_IN.setdefault(_name, []).append(_module)


_ALL_OF_IT = {"sum_embeddings", "layer_norm", "add_and_norm", "gelu", "scaled_dot_product_attention"}


@contextmanager
def use(**mine: Function) -> Iterator[None]:
    """Run the package on your own functions inside a `with` block.

    `with use(layer_norm=mine): model(ids)` calls `mine` wherever the package calls `layer_norm`. Your
    function takes the same positional arguments. `scaled_dot_product_attention` may leave out `dropout_p`,
    and replaces the fused kernel as well.

    Raises:
        ValueError: the package has no function of that name, or the value is not callable.
    """
    for name, function in mine.items():
        _check(name, function)
    if "scaled_dot_product_attention" in mine:
        mine = {**mine, **_both_paths(mine["scaled_dot_product_attention"])}
    before = [(module, name, getattr(module, name)) for name in mine for module in _LOOKED_UP_IN[name]]
    before.append((SubwordTokenizer, "caches_words", SubwordTokenizer.caches_words))
    try:
        SubwordTokenizer.caches_words = False  # cached words were split by the package's functions
        for name, function in mine.items():
            for module in _LOOKED_UP_IN[name]:
                setattr(module, name, function)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _check(name: str, function: Function) -> None:
    if name not in _LOOKED_UP_IN:
        raise ValueError(
            f"the package has no function {name!r} to replace; choose one of "
            f"{', '.join(sorted(_LOOKED_UP_IN))}"
        )
    if not callable(function):
        raise ValueError(
            f"{name} is {type(function).__name__}, expected a function; pass the function without calling it"
        )


def _both_paths(mine: Function) -> dict[str, Function]:
    """Return the learner's attention with the signatures of the explicit path and of the fused one."""

    def explicit(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0
    ) -> AttentionOutput:
        return AttentionOutput(*mine(query, key, value, mask))

    def fused(*args: Any) -> Tensor:
        return explicit(*args).context

    return {"scaled_dot_product_attention": explicit, "fused_attention": fused}


@dataclass(frozen=True)
class Comparison:
    """Largest difference at each step of a model, in the order the steps are computed (see `_largest`)."""

    names: str  # of the functions swapped in
    differences: dict[str, float]  # module name: largest difference
    tolerance: float
    error: str | None = None
    attempted: bool = True
    advice: str = ""  # what the check of a function says that makes the model differ

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
        """Return one or two lines that say where the two models differ first."""
        if not self.attempted:
            return f"– {self.names} in the model: not attempted yet"
        if self.error is not None:
            return f"✗ {self.names} in the model: {self.error}{self.advice}"
        first = self.first_difference
        if first is None:
            largest = max(self.differences.values())
            return f"✓ the model runs on your own {self.names}; largest difference {largest:.0e}"
        return (
            f"✗ {self.names}: the first step that differs is {first}, by {self.differences[first]:.4f}\n"
            f"  {list(self.differences).index(first)} of {len(self.differences)} steps before it agree"
            f"{self.advice}"
        )

    def _repr_html_(self) -> str | None:
        """Return the lines as HTML; see `Result`."""
        return as_html(repr(self)) if self.attempted else None


def compare_layers(
    model: nn.Module, batch: dict[str, Tensor], tolerance: float = 1e-4, **mine: Function
) -> Comparison:
    """Run `model` as it is and with your functions, and compare every step.

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
        with use(**{name: _recorded(name, function, called) for name, function in mine.items()}):
            yours = _trace(model, batch)
    except Exception as error:
        if is_stub(error):
            return Comparison(names, {}, tolerance, attempted=False)
        stopped = f"it stops with {type(error).__name__}: {error}"
        return Comparison(names, {}, tolerance, error=stopped, advice=_advice(mine))
    if called != set(mine):
        return Comparison(
            names, {}, tolerance, error=f"it never calls {', '.join(sorted(set(mine) - called))}"
        )
    sizes = {step: _largest(yours[step], reference[step]) for step in reference}
    result = Comparison(names, sizes, tolerance)
    if not result.ok:
        return replace(result, advice=_advice(mine))
    if mine.keys() >= _ALL_OF_IT:
        note(3, "all of it")
    return result


def _advice(mine: dict[str, Function]) -> str:
    """Return what the exercises' own checks say of the functions that fail there, on lines of their own."""
    from bertlearn.course.checks import attention, encoder  # which need not be loaded for a model that agrees

    exercises = (
        (getattr(encoder, name, None) or getattr(attention, name, None), f) for name, f in mine.items()
    )
    results = [exercise(function) for exercise, function in exercises if exercise is not None]
    failed = [repr(result) for result in results if not result.ok and result.attempted]
    return "".join(f"\nchecked by itself:\n{text}" for text in failed)


def _recorded(name: str, function: Function, called: set[str]) -> Function:
    """Return a wrapper that adds the name to `called` at each call."""

    def recorded(*args: Any) -> Any:
        called.add(name)
        return function(*args)

    return recorded


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
    """Return the largest difference, divided by the step's largest number if that exceeds 1."""
    if one.shape != other.shape:
        return float("inf")
    return ((one - other).abs().max() / other.abs().max().clamp(min=1)).item()
