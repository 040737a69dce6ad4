"""Checks of options and arguments that the whole package shares; each error gives name and value.

Does not import torch until a device is checked, so that `--help` answers at once.
"""

from __future__ import annotations

import math
import operator
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LARGEST_SEED = 2**64 - 1


class OptionError(ValueError):
    """An option or argument has an invalid value."""


def check_count(name: str, value: Any, least: int = 1, most: int | None = None, remedy: str = "") -> int:
    """Return a whole number as an int, whichever library it comes from.

    Args:
        name: of the argument, for the message.
        value: what was given.
        least, most: the allowed range; None for no upper limit.
        remedy: for the end of the message.

    Raises:
        OptionError: not a whole number, such as 2.0, "2", None or True, or one that is out of range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or (most is not None and number > most) or isinstance(value, bool):
        expected = f"of at least {least}" if most is None else f"from {least} to {most}"
        hint = f"; {remedy}" if remedy else ""
        raise OptionError(f"{name}={repr(value)[:60]} must be a whole number {expected}{hint}")
    return number


def check_positive(name: str, value: float) -> None:
    """Refuse a number that is not positive, and NaN."""
    if not (value > 0 and math.isfinite(value)):
        raise OptionError(f"{name}={value} must be a positive number")


def check_share(name: str, value: float) -> None:
    """Refuse a number outside [0, 1)."""
    if not 0 <= value < 1:
        raise OptionError(f"{name}={value} must lie in [0, 1)")


def check_kind(name: str, value: Any, kind: type) -> None:
    """Refuse an argument of another type, such as a dict in place of options."""
    if not isinstance(value, kind):
        raise OptionError(f"{name} is {repr(value)[:60]}, expected {kind.__name__}; use {kind.__name__}(…)")


def check_function(name: str, value: Any, argument: str) -> None:
    """Refuse an object that cannot be called; `argument` says what it would be called with."""
    if not callable(value):
        raise OptionError(f"{name}={value!r} is {type(value).__name__}, expected a function of {argument}")


def check_path(name: str, value: Any, optional: bool = False) -> None:
    """Refuse anything but a path, such as a number; None is allowed only if the path is optional."""
    if not isinstance(value, str | os.PathLike) and not (value is None and optional):
        raise OptionError(f"{name}={repr(value)[:60]} is {type(value).__name__}, expected a path")


def check_device(device: torch.device | str | None) -> None:
    """Check that this machine has the device; None, the default, always passes.

    Args:
        device: as `torch.device` reads it, such as "cpu", "cuda" or "cuda:1".

    Raises:
        OptionError: it has no such device; the message names those that it has.
    """
    if device is None:
        return
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    found = {"cpu": 1} | ({} if accelerator is None else {accelerator.type: torch.accelerator.device_count()})
    try:
        chosen = torch.device(device)
        exists = (chosen.index or 0) < found.get(chosen.type, 0)
    except RuntimeError:  # no device of any machine
        exists = False
    if not exists:
        names = [kind if count == 1 else f"{kind}:0 to {kind}:{count - 1}" for kind, count in found.items()]
        raise OptionError(
            f"device={str(device)!r} is not on this machine, where PyTorch {torch.__version__} finds "
            f"{' and '.join(names)}; choose one of these, or leave it out"
        )
