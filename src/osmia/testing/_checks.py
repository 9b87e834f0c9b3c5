"""What a `Vm` is given, checked before anything is made of it."""

from __future__ import annotations

import os

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..vm import Machine
    from ..vm.types import Helper


_MOST_CPUS = 8192  # of a kernel


def check_numbers(cpus: int, seed: int, fuel: int) -> None:
    """UsageError for what is no integer, or too small or large."""
    for what, value, least in (("cpus", cpus, 1), ("seed", seed, None), ("fuel", fuel, 1)):
        if not isinstance(value, int):
            raise UsageError(f"make Vm: {what} is {type(value).__name__}", hint="give an int")
        if least is not None and value < least:
            raise UsageError(f"make Vm: {what} is {value}", hint="give 1 or more")
    if cpus > _MOST_CPUS:
        raise UsageError(f"make Vm: cpus is {cpus}", hint=f"give {_MOST_CPUS} at most")


def check_parameters(source: str | os.PathLike[str], params: Sequence[str | int]) -> None:
    """UsageError for more parameters than a script has: a test that gives one expects that it does something."""
    if not isinstance(params, (list, tuple)) or not params or not isinstance(source, str):
        return
    import re

    taken = [int(number) for number in re.findall(r"\$(\d+)", source)]
    if "$#" not in source and len(params) > max(taken, default=0):
        raise UsageError(f"pass ${len(params)} to script: it has none", hint="leave that out of params")


def check_mocks(helpers: Mapping[str | int, Helper | int] | None) -> dict[str | int, Helper | int]:
    """Helpers that a test replaces. UsageError for what cannot be one."""
    if helpers is None:
        return {}
    if not hasattr(helpers, "items"):
        raise UsageError(
            f"replace helpers: {type(helpers).__name__} is no dict", hint="give {'get_prandom_u32': 7}, say"
        )
    return {which: check_mock(which, value) for which, value in helpers.items()}


def check_mock(which: str | int, value: Helper | int) -> Helper | int:
    """What is to stand for a helper; a function also says so when it returns what is no number."""
    if not isinstance(which, (str, int)):
        raise UsageError(f"replace helper {which!r}: it is {type(which).__name__}", hint="give a name or a number")
    if isinstance(value, int):
        return _register(which, value)
    if not callable(value):
        raise UsageError(
            f"replace helper {which}: {value!r} is {type(value).__name__}",
            hint="give a number, or a function of the machine and r1 to r5",
        )
    from inspect import signature

    function = value
    try:
        signature(function).bind(*range(6))
    except TypeError as error:
        raise UsageError(
            f"replace helper {which}: {error}", hint="it is called with six: the machine, r1, r2, r3, r4, r5"
        ) from None
    except ValueError:  # it does not say what it takes
        pass

    def call(machine: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
        result = function(machine, r1, r2, r3, r4, r5)
        return result if type(result) is int and result >> 63 in (0, -1) else _register(which, result)

    return call


def _register(which: str | int, value: object) -> int:
    """What fits r0. UsageError for other values."""
    if not isinstance(value, int):
        raise UsageError(f"replace helper {which}: it returned {value!r}", hint="return a number")
    if not -1 << 63 <= value < 1 << 64:
        raise UsageError(f"replace helper {which}: {value} has more than 64 bits", hint="r0 has 64")
    return value
