"""Numbers that a project measured before: one, or several by device, version of torch and precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from annotated_types import Gt, MinLen

from repro.errors import ParamsError

KEYS = ("device", "torch", "precision")  # of `expect:`, in the order in which they are named


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A number this project measured before, as reference of the verdict; percent points."""

    mIoU: float
    band: Annotated[float, Gt(0)]
    source: str


@dataclass(frozen=True, kw_only=True)
class ExpectationOn(Expectation):
    """One of several numbers; a key that is left out matches everything.

    Trainings on different processors differ in their last bits, and a training amplifies them: a narrow band
    holds for one class of devices only.
    """

    device: Annotated[str, MinLen(1)] | None = None  # name of the GPU, else of the processor: "AMD EPYC*"
    torch: Annotated[str, MinLen(1)] | None = None  # its minor version: "2.15"
    precision: Annotated[str, MinLen(1)] | None = None  # of the training: fp32, bf16, fp16

    @property
    def keys(self) -> dict[str, str]:
        """The keys that are given."""
        given = {key: getattr(self, key) for key in KEYS}
        return {key: value for key, value in given.items() if value is not None}


Expect = Expectation | tuple[ExpectationOn, ...] | None


def expectation_for(
    expect: Expect, made: Mapping[str, str], where: object, *, measured: float | None = None
) -> Expectation | None:
    """Return the expected number of a result; of several the one with most keys that match.

    Args:
        expect: `expect:` of params.yaml.
        made: Where the result was measured: its device, torch and precision, by KEYS.
        where: The params.yaml, for errors.
        measured: The number of the result, for the line that is missing.

    Raises:
        ParamsError: None of several matches, or two with equally many keys do.
    """
    if not isinstance(expect, tuple):
        return expect
    found = [one for one in expect if _matches(one, made)]
    most = max((len(one.keys) for one in found), default=0)
    best = [one for one in found if len(one.keys) == most]
    if len(best) == 1:
        return best[0]
    shown = ", ".join(f"{key} {made.get(key) or 'unknown'}" for key in KEYS)
    if not best:
        what = f"no expected number for this result ({shown})"
        raise ParamsError(
            what, where=where, allowed=_given(expect), hint=f"add to `expect:` {line_to_add(made, measured)}"
        )
    what = f"{len(best)} expected numbers fit this result equally well ({shown})"
    raise ParamsError(what, where=where, allowed=_given(best), hint="give one of them a further key")


def line_to_add(made: Mapping[str, str], measured: float | None = None) -> str:
    """The line of `expect:` for a result of this device and version, with its number if that is known."""
    number = "NUMBER" if measured is None else f"{measured:.2f}"
    keys = "".join(f', {key}: "{made[key]}"' for key in KEYS if made.get(key))
    return f'- {{mIoU: {number}, band: BAND, source: "WHERE FROM"{keys}}}'


def _matches(one: ExpectationOn, made: Mapping[str, str]) -> bool:
    return all(fnmatchcase(made.get(key, ""), pattern) for key, pattern in one.keys.items())


def _given(expect: Sequence[ExpectationOn]) -> str:
    return "; ".join(" ".join(f"{key} {value}" for key, value in one.keys.items()) or "any" for one in expect)
