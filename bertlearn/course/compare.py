"""How a value differs from the expected one, in words and small pictures that a learner can use.

`find` returns the first place where two values differ, `difference` says it in a clause, and `contrast` says
how the two are related, if they are: twice as large, transposed, shifted. `show` writes a value in one line.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field
from itertools import combinations_with_replacement, permutations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

_CLOSE = 1e-4  # relative: for relations between numbers, not for being right
_ROOM = 100  # characters for one value
_NUMBERS = 24  # the most numbers of a tensor that are shown one by one


class Difference(NamedTuple):
    """The first place where a value is not the expected one."""

    path: tuple[Any, ...]  # indices and keys that lead to it
    value: Any
    expected: Any
    text: str  # what is wrong there


def difference(value: Any, expected: Any, tolerance: float, names: Sequence[str] = ()) -> str | None:
    """Return how `value` differs from `expected`, or None if they are equal up to `tolerance`.

    Compares tensors, numbers, text, models (mode and weights), and tuples, lists and dictionaries of them.

    Args:
        value: any value.
        expected: what it should be.
        tolerance: the largest difference between two floats that counts as equal.
        names: what the items are called, if `expected` is a tuple whose items have names.
    """
    found = find(value, expected, tolerance)
    return None if found is None else described(found, expected, names)


def described(found: Difference, expected: Any, names: Sequence[str] = ()) -> str:
    """Return a difference as a clause that begins with where it is."""
    steps = []
    for depth, step in enumerate(found.path):
        if depth == 0 and isinstance(expected, tuple) and isinstance(step, int) and step < len(names):
            steps.append(f"{names[step]}: ")
        else:
            steps.append(f"item {step}: " if isinstance(step, int) else f"at {short(text_of(step))}: ")
    return "".join(steps) + found.text


def find(value: Any, expected: Any, tolerance: float) -> Difference | None:
    """Return the first difference between two values, None if they are equal up to `tolerance`."""
    if isinstance(expected, Tensor):
        return _leaf(value, expected, _tensor_difference(value, expected, tolerance))
    if isinstance(expected, bool | str | type(None)):
        same = type(value) is type(expected) and value == expected
        return None if same else _leaf(value, expected, _unequal(value, expected))
    if isinstance(expected, int | float):
        return _leaf(value, expected, _number_difference(value, expected, tolerance))
    if isinstance(expected, dict):
        return _dict_difference(value, expected, tolerance)
    if isinstance(expected, list | tuple):
        return _sequence_difference(value, expected, tolerance)
    if isinstance(expected, nn.Module) and isinstance(value, nn.Module):
        return _model_difference(value, expected, tolerance)
    same = value is expected or type(value) is type(expected)
    return None if same else _leaf(value, expected, _unequal(value, expected))


def _leaf(value: Any, expected: Any, text: str | None) -> Difference | None:
    return None if text is None else Difference((), value, expected, text)


def _model_difference(value: nn.Module, expected: nn.Module, tolerance: float) -> Difference | None:
    if [module.training for module in value.modules()] != [module.training for module in expected.modules()]:
        return _leaf(value, expected, "the model is in another mode, training or evaluation")
    return find(dict(value.state_dict()), dict(expected.state_dict()), tolerance)


def _tensor_difference(value: Any, expected: Tensor, tolerance: float) -> str | None:
    if not isinstance(value, Tensor):
        return f"a tensor {_shape(expected)} is expected, yours is {kind(value)}"
    if value.shape != expected.shape:
        return f"the shape should be {_shape(expected)}, yours is {_shape(value)}"
    half = any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in (value, expected))
    if value.is_floating_point() != expected.is_floating_point() or (half and value.dtype != expected.dtype):
        return f"the dtype should be like {expected.dtype}, yours is {value.dtype}"
    one, other = value.detach().double(), expected.detach().double()
    if torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True):
        return None
    if not one.isfinite().all():
        return "your result holds NaN or infinity"
    if value.is_floating_point():
        gap = (one - other).abs().max().item()
        return f"your numbers are off by up to {gap:{'.4f' if gap >= 0.001 else '.1g'}}"
    differ = (one != other).nonzero().tolist()
    found = value[tuple(differ[0])].item()
    return f"{len(differ)} of {value.numel()} entries differ, first at {differ[0]}, where yours is {found}"


def _number_difference(value: Any, expected: float, tolerance: float) -> str | None:
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"a number is expected, yours is {kind(value)}"
    close = abs(value - expected) <= tolerance * max(1.0, abs(expected)) or value == expected
    both_nan = math.isnan(value) and math.isnan(expected)
    return None if close or both_nan else _unequal(value, expected)


def _plain(value: Any) -> Any:
    """Return a number for a tensor or an array scalar that holds just one."""
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1):
        return value.item()
    return value


def _dict_difference(value: Any, expected: dict[Any, Any], tolerance: float) -> Difference | None:
    if not isinstance(value, dict):
        return _leaf(value, expected, f"a dictionary is expected, yours is {kind(value)}")
    if value.keys() != expected.keys():
        odd = sorted(map(text_of, value.keys() ^ expected.keys()))[0]
        which = "is missing" if odd in map(text_of, expected.keys()) else "should not be there"
        return _leaf(value, expected, f"the keys differ: {short(odd)} {which}")
    for key in expected:
        found = find(value[key], expected[key], tolerance)
        if found:
            return found._replace(path=(key, *found.path))
    return None


def _sequence_difference(value: Any, expected: Sequence[Any], tolerance: float) -> Difference | None:
    if not isinstance(value, list | tuple):
        return _leaf(value, expected, f"{kind(expected)} is expected, yours is {kind(value)}")
    if len(value) != len(expected):
        count = "1 item is" if len(expected) == 1 else f"{len(expected)} items are"
        return _leaf(value, expected, f"{count} expected, yours has {len(value)}")
    for index, (one, other) in enumerate(zip(value, expected, strict=True)):
        found = find(one, other, tolerance)
        if found:
            return found._replace(path=(index, *found.path))
    return None


def _unequal(value: Any, expected: Any) -> str:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (value, expected))
    if type(value) is not type(expected) and not numbers:
        return f"{kind(expected)} is expected, yours is {kind(value)}"
    return f"yours gives {short(text_of(value))}, which is not right"


# --- relations -------------------------------------------------------------------------------------------


def contrast(value: Any, expected: Any, sizes: Mapping[int, str] | None = None) -> str | None:
    """Return how a wrong value is related to the expected one, None if no simple relation is found.

    Args:
        value: the wrong value, of any kind.
        expected: the right one.
        sizes: numbers that occur in the input, with a name for each; differences are factored into them.
    """
    if isinstance(expected, Tensor) and isinstance(value, Tensor):
        return _tensor_contrast(value.detach(), expected.detach(), sizes or {})
    if isinstance(expected, list | tuple) and isinstance(value, list | tuple):
        return _sequence_contrast(list(value), list(expected))
    if isinstance(expected, str) and isinstance(value, str):
        return _text_contrast(value, expected)
    value = _plain(value)
    if _is_number(value) and _is_number(expected) and math.isfinite(value):
        return _number_contrast(value, expected, sizes or {})
    return None


def relation(
    value: Any, expected: Any, found: Difference, sizes: Mapping[int, str] | None = None
) -> str | None:
    """Return the relation at a difference: that of the list around it, or else of what differs itself."""
    around = found.path[:-1]
    if found.path and isinstance(_at(expected, around), list):
        relation = contrast(_at(value, around), _at(expected, around), sizes)
        if relation:
            return relation
    return contrast(found.value, found.expected, sizes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_contrast(value: float, expected: float, sizes: Mapping[int, str]) -> str | None:
    if isinstance(value, int) and isinstance(expected, int):
        gap = value - expected
        parts = _factored(abs(gap), sizes)
        if parts:
            return f"yours is {abs(gap):,} = {parts} too {'many' if gap > 0 else 'few'}"
        return f"yours is {abs(gap):,} too {'large' if gap > 0 else 'small'}"
    one, other = torch.tensor([float(value)]).double(), torch.tensor([float(expected)]).double()
    return _relation(one, other, sizes)


def _text_contrast(value: str, expected: str) -> str | None:
    if unicodedata.normalize("NFC", value) == unicodedata.normalize("NFC", expected):
        return f"it looks the same, but has {len(value)} characters where {len(expected)} are expected"
    if value.casefold() == expected.casefold():
        return "only upper and lower case differ"
    return "only spaces differ" if "".join(value.split()) == "".join(expected.split()) else None


def _factored(number: int, sizes: Mapping[int, str]) -> str | None:
    """Write a number as a product of at most four sizes, small factors allowed: 6 × 384."""
    known = sorted((size for size in sizes if size > 1), reverse=True)
    if number < 10 or not known:
        return None
    for count in range(1, 5):
        for factors in combinations_with_replacement(sorted({*known, 2, 3, 4}), count):
            if math.prod(factors) == number and any(factor in known for factor in factors):
                return " × ".join(f"{x:,} ({sizes[x]})" if x in sizes else str(x) for x in factors)
    return None


def _sequence_contrast(value: list[Any], expected: list[Any]) -> str | None:
    if not value or not expected:
        return None
    texts, others = list(map(text_of, value)), list(map(text_of, expected))
    if len(value) == len(expected):
        return _order(texts, others) or _shift(value, expected)
    if len(value) < len(expected):
        ends = {"the last is missing": others[:-1], "the first is missing": others[1:]}
        return next((text for text, part in ends.items() if texts == part), None)
    ends = {"there is one too many at the end": texts[:-1], "there is one too many in front": texts[1:]}
    return next((text for text, part in ends.items() if part == others), None)


def _order(texts: list[str], others: list[str]) -> str | None:
    if texts == others[::-1]:
        return "yours is in the opposite order"
    return "the right items, in another order" if sorted(texts) == sorted(others) else None


def _shift(value: list[Any], expected: list[Any]) -> str | None:
    if not all(isinstance(x, int) and not isinstance(x, bool) for x in (*value, *expected)):
        return None
    steps = {x - y for x, y in zip(value, expected, strict=True)}
    step = steps.pop()
    return (
        None if steps or not step else f"each of yours is {abs(step)} too {'large' if step > 0 else 'small'}"
    )


def _tensor_contrast(value: Tensor, expected: Tensor, sizes: Mapping[int, str]) -> str | None:
    if value.is_complex() or value.numel() == 0 or expected.numel() == 0:
        return None
    one, other = value.double(), expected.double()
    if one.shape != other.shape:
        return _shape_contrast(one, other)
    if not one.isfinite().all():
        rows = _rows_that_differ(one, other)
        return rows or ("NaN everywhere" if one.isnan().all() else None)
    if one.dim() > 0 and not value.is_floating_point():
        return _moved(one, other) or _rows_that_differ(one, other)
    return _relation(one, other, sizes) or _moved(one, other) or _rows_that_differ(one, other)


def _near(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=_CLOSE, atol=1e-9)


def _relation(one: Tensor, other: Tensor, sizes: Mapping[int, str]) -> str | None:
    """Return how two tensors of numbers are related number by number."""
    matters = other.abs() > 1e-6 * other.abs().max()
    if not matters.any():
        return None
    varied = bool((other - other.flatten()[0]).abs().max() > _CLOSE * other.abs().max())
    ratio = (one[matters] / other[matters]).median().item()
    if ratio and abs(ratio - 1) > _CLOSE and _near(one, ratio * other):
        return _ratio(ratio, sizes) or (f"yours is {ratio:.4g} times as large everywhere" if varied else None)
    gap = (one - other).median().item()
    if varied and _near(one, other + gap):
        return f"each of yours is {abs(gap):.4g} too {'large' if gap > 0 else 'small'}"
    related = {
        "yours is its logarithm": other.log(),
        "yours is its exponential": other.exp(),
        "yours is its square": other**2,
        "yours is its square root": other.sqrt(),
        "yours is 1 minus it": 1 - other,
        "yours is 1 divided by it": 1 / other,
        "yours is its absolute value": other.abs(),
    }
    return next((text for text, tensor in related.items() if _near(one, tensor)), None)


def _ratio(ratio: float, sizes: Mapping[int, str]) -> str | None:
    """Name a ratio that is a small number, a size, a root of one, or the step to another logarithm."""
    if abs(ratio + 1) < _CLOSE:
        return "yours has the opposite sign"
    known = {**{number: "" for number in (*range(2, 17), 100)}, **sizes}
    for number, name in known.items():
        if number < 2:
            continue
        named = f" ({number} is {name})" if name else ""
        root = math.sqrt(number)
        texts = {
            f"{number} times": number,
            f"1/{number}": 1 / number,
            f"√{number} times": root,
            f"1/√{number}": 1 / root,
        }
        for text, factor in texts.items():
            whole = name or "√" not in text  # a root of any other number would be chance
            if whole and abs(ratio - factor) < _CLOSE * factor:
                return f"yours is exactly {text} as large{named}"
    bases = {2: math.log(2), 10: math.log(10)}
    base = next((base for base, log in bases.items() if abs(ratio * log - 1) < _CLOSE), None)
    return (
        None if base is None else f"yours is 1/ln {base} times as large, as with a logarithm of base {base}"
    )


def _moved(one: Tensor, other: Tensor) -> str | None:
    """Return where the right numbers stand in place of their own, None if they are not simply moved."""
    if not (other - other.flatten()[0]).any():  # equal numbers cannot be told apart
        return None
    if one.dim() >= 2 and _near(one, other.transpose(-1, -2)):
        return "rows and columns are swapped"
    for axis in range(one.dim()):
        if one.shape[axis] < 2:
            continue
        if _near(one, other.flip(axis)):
            return f"the right numbers, in the opposite order along axis {axis}"
        for step in (1, -1):
            if one.shape[axis] > 2 and _near(one, other.roll(step, axis)):
                return f"the right numbers, shifted by one along axis {axis}"
    return None


def _rows_that_differ(one: Tensor, other: Tensor) -> str | None:
    """Return which entries of the first axis with several are wrong, None if all are."""
    axis = next((axis for axis, size in enumerate(one.shape) if size > 1), None)
    if axis is None:
        return None
    same = torch.isclose(one, other, rtol=1e-5, atol=1e-5, equal_nan=True).transpose(0, axis)
    wrong = (~same.reshape(len(same), -1).all(dim=1)).nonzero().flatten().tolist()
    if len(wrong) in (0, one.shape[axis]):
        return None
    where = ", ".join(map(str, wrong[:6])) + (", …" if len(wrong) > 6 else "")
    return f"only at index {where} of axis {axis}; the rest of the {one.shape[axis]} are right"


def _shape_contrast(one: Tensor, other: Tensor) -> str | None:
    if one.numel() == other.numel() and one.dim() == other.dim() <= 5:
        for order in permutations(range(one.dim())):
            if _near(one.permute(order), other):
                return "the numbers are right, but two axes are swapped"
        if one.dim() >= 2 and one.transpose(-1, -2).shape == other.shape:
            return "your shape is that of the transpose"
    if one.squeeze().shape == other.squeeze().shape:
        more = "too many" if one.dim() > other.dim() else "missing"
        right = "the numbers are right, but " if _near(one.squeeze(), other.squeeze()) else ""
        count = abs(one.dim() - other.dim())
        what = "an axis of size 1 is" if count == 1 else f"{count} axes of size 1 are"
        return f"{right}{what} {more}"
    if one.numel() == other.numel() and _near(one.flatten(), other.flatten()):
        return "the same numbers in the same order, in another shape"
    return _reduced(one, other)


def _reduced(one: Tensor, other: Tensor) -> str | None:
    """Return over which axis of the expected tensor the value is a sum or a mean."""
    for axis in range(other.dim()):
        for name, reduced in (("sum", other.sum(axis)), ("mean", other.mean(axis))):
            if _near(one, reduced) or _near(one, reduced.unsqueeze(axis)):
                return f"yours is the {name} of the expected result over its axis {axis}"
    for name, total in (("sum", other.sum()), ("mean", other.mean())):
        if one.numel() == 1 and _near(one.reshape(()), total):
            return f"yours is the {name} of the whole expected result"
    return None


# --- values in one line ----------------------------------------------------------------------------------


def side_by_side(
    value: Any, expected: Any, found: Difference | None, names: Sequence[str] = ()
) -> tuple[str, str] | None:
    """Return the expected value and the attempt's, each as a short line on which the difference can be seen.

    Args:
        value: the attempt's value.
        expected: the right one.
        found: their first difference, None if there is none.
        names: what the items are called, if `expected` is a tuple whose items have names.

    Returns None if there is nothing to be seen, as for two models in different modes.
    """
    for digits in (4, 8):
        lines = _named(expected, names, digits), _named(value, names, digits)
        if lines[0] != lines[1] and max(map(len, lines)) <= _ROOM:
            return lines
    if found is None:
        return None
    for depth in range(1, len(found.path)):  # a list that fits says more than one of its items
        one, other = _shown(_at(expected, found.path[:depth])), _shown(_at(value, found.path[:depth]))
        if max(len(one), len(other)) <= _ROOM:
            prefix = described(Difference(found.path[:depth], None, None, ""), expected, names)
            return prefix + one, prefix + other
    prefix = described(found._replace(text=""), expected, names)
    leaves = _leaves(found.value, found.expected)
    return None if leaves is None else (prefix + leaves[0], prefix + leaves[1])


def _at(value: Any, path: Sequence[Any]) -> Any:
    """Return what stands at the end of a path of indices and keys."""
    for step in path:
        value = value[step]
    return value


def _leaves(value: Any, expected: Any) -> tuple[str, str] | None:
    tensors = isinstance(expected, Tensor) and isinstance(value, Tensor) and value.shape == expected.shape
    if tensors and value.numel() > _NUMBERS:
        return _first_entries(value, expected)
    for digits in (4, 8):
        one, other = _shown(expected, digits), _shown(value, digits)
        if one != other:
            start = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), 0)
            return _excerpt(one, start), _excerpt(other, start)
    return None


def _excerpt(text: str, first: int) -> str:
    """Return the part of a long line around its character `first`."""
    if len(text) <= _ROOM:
        return text
    start = max(0, min(first - _ROOM // 3, len(text) - _ROOM))
    return ("…" if start else "") + short(text[start:], _ROOM)


def _first_entries(value: Tensor, expected: Tensor) -> tuple[str, str] | None:
    """Return the first entries that differ clearly, with their place, and how many do."""
    one, other = value.detach().double(), expected.detach().double()
    gap = torch.nan_to_num((one - other).abs(), nan=math.inf)
    differ = gap > min(0.01 * gap.max().item(), 1e30)
    if not differ.any():
        return None
    place = differ.nonzero()[0].tolist()
    count = f"{int(differ.sum())} of {value.numel()} numbers differ"
    ours, theirs = expected[tuple(place)].item(), value[tuple(place)].item()
    return f"{_shown(ours)} at {place}", f"{_shown(theirs)} there ({count})"


def _named(value: Any, names: Sequence[str], digits: int) -> str:
    if names and isinstance(value, tuple | list) and len(value) == len(names):
        return ", ".join(f"{name} = {_shown(item, digits)}" for name, item in zip(names, value, strict=True))
    return _shown(value, digits)


def show(value: Any, room: int = _ROOM) -> str:
    """Return a value as a short line: small tensors as numbers, large ones as their shape."""
    return short(_shown(value), room)


def _shown(value: Any, digits: int = 4) -> str:
    if isinstance(value, Tensor):
        return _tensor_shown(value, digits)
    if isinstance(value, bool | np.bool_) or value is None:
        return str(value)
    if isinstance(value, int | float | np.number):
        return _number_shown(_plain(value), digits)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        named = zip(value._fields, value, strict=True)
        return ", ".join(f"{name}: {_shown(item, digits)}" for name, item in named)
    if isinstance(value, dict):
        pairs = (f"{_shown(key, digits)}: {_shown(item, digits)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        inside = ", ".join(_shown(item, digits) for item in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    return _object_shown(value)


def _object_shown(value: Any) -> str:
    if isinstance(value, nn.Module):
        name = kind(value).replace(" _", " ")
        return f"{name} in {'training' if value.training else 'evaluation'} mode"
    fields = getattr(type(value), "__dataclass_fields__", {})
    if fields:  # only what differs from the defaults
        changed = [name for name, field in fields.items() if getattr(value, name) != _default(field)]
        named = ", ".join(f"{name}={_shown(getattr(value, name))}" for name in changed)
        return f"{type(value).__name__}({named})"
    if callable(value):
        summary = (getattr(value, "__doc__", None) or "").strip().partition("\n")[0].rstrip(".")
        return f"a function ({summary})" if summary else "a function"
    return text_of(value)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _tensor_shown(value: Tensor, digits: int) -> str:
    if value.numel() > _NUMBERS or value.numel() == 0:
        return f"{_dtype(value)} {_shape(value)}"
    return _shown(value.detach().tolist(), digits)


def _number_shown(value: float, digits: int) -> str:
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    return f"{value:.{digits}g}" if math.isfinite(value) else str(value)


def _dtype(value: Tensor) -> str:
    if value.dtype == torch.bool:
        return "booleans"
    return "floats" if value.is_floating_point() else "integers"


def _shape(value: Tensor) -> str:
    return str(tuple(value.shape))


def kind(value: Any) -> str:
    """Return what kind of value it is, with an article: "a list"."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def text_of(value: Any) -> str:
    """Return `repr(value)`, or what kind of value it is if that raises."""
    try:
        return repr(value)
    except Exception:
        return kind(value)


def short(text: str, limit: int = 120) -> str:
    """Return a text on one line, cut to `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def size_of(value: Any) -> int:
    """Return about how much there is to read in a value, to choose the smallest of several inputs."""
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(size_of(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        return 1 + sum(map(size_of, value))
    return 1


def sizes_in(named: Iterable[tuple[str, Any]]) -> dict[int, str]:
    """Return the sizes that occur in named inputs, each with a name: {384: "hidden_size"}."""
    sizes: dict[int, str] = {}
    for name, value in named:
        if isinstance(value, Tensor):
            for axis, size in enumerate(value.shape):
                sizes.setdefault(size, f"axis {axis} of {name}")
        elif isinstance(value, int) and not isinstance(value, bool):
            sizes.setdefault(value, name)
        elif isinstance(value, list | tuple | str | dict):
            sizes.setdefault(len(value), f"the length of {name}")
        for field in getattr(type(value), "__dataclass_fields__", {}):
            number = getattr(value, field)
            if isinstance(number, int) and not isinstance(number, bool):
                sizes.setdefault(number, field)
    return sizes
