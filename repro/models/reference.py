"""Build a network by reference: import what a zoo names, call it, and bring its outputs into one form.

This is the only place that imports a zoo's code, and only in a process that `repro.io.sources.trust` allows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from repro.errors import ParamsError, some_of
from repro.io.sources import import_own, trusted
from repro.params.reference import ReferenceModel

FORMS = "logits (N, classes, h, w), a tuple of them (the prediction first), or a mapping with `out` and `aux`"
SIZE_HINT = "`model.size_divisor` pads images for networks that take only multiples of a size"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A batch that a network will be given: number of images, their size, and the mode."""

    images: int
    size_HW: tuple[int, int]
    training: bool


def build_reference(params: ReferenceModel, *, num_classes: int, pretrained: bool = False) -> nn.Module:
    """Build the network that `params` name, in training mode; its state dict has the names of its author.

    Args:
        params: what to call, and its arguments.
        num_classes: number of channels that the logits must have.
        pretrained: call it with `pretrained_args` too, which may download weights.

    Returns:
        A module whose calls return a tuple of logits, the prediction first; see `heads_of`.

    Raises:
        ParamsError: it cannot be imported or called, or does not return a module.
    """
    arguments = {**params.args, **(params.pretrained_args if pretrained else {})}
    net = _called(params, _imported(params), arguments)

    def one_form(_: nn.Module, given: tuple[Any, ...], output: object) -> tuple[Tensor, ...]:
        return heads_of(output, params, batch=len(given[0]), classes=num_classes)

    net.register_forward_hook(one_form)
    return net.train()


def without_memory(params: ReferenceModel, *, num_classes: int, run: Callable[[nn.Module], T]) -> T:
    """Return `run(network)` with the network on the meta device, or on the CPU if its code needs values."""
    try:
        with torch.device("meta"):
            return run(build_reference(params, num_classes=num_classes))
    except Exception:  # whatever a foreign module raises there; an error that is real is raised again
        return run(build_reference(params, num_classes=num_classes))


def try_reference(params: ReferenceModel, *, num_classes: int, batches: Sequence[Trial]) -> None:
    """Run the network once on each batch of black images, without gradients and without its weights.

    Raises:
        ParamsError: it cannot be built, fails on one of the batches, or returns an unknown form.
    """

    def run(net: nn.Module) -> None:
        for batch in batches:
            with torch.no_grad():
                _try_batch(net.train(batch.training), params, batch)

    without_memory(params, num_classes=num_classes, run=run)


def _try_batch(net: nn.Module, params: ReferenceModel, batch: Trial) -> None:
    device = next(net.parameters()).device
    height, width = batch.size_HW
    try:
        net(torch.zeros(batch.images, 3, height, width, device=device))
    except ParamsError:
        raise
    except Exception as error:
        mode = "training" if batch.training else "evaluation"
        what = f"{batch.images} images of {height} x {width} in {mode}"
        raise _wrong(params, f"failed on {what}: {_text(error)}", hint=SIZE_HINT) from error


def _imported(params: ReferenceModel) -> Callable[..., object]:
    """The function or class that `params.build` names."""
    root = trusted()
    if root is None:
        what = f"this command does not run code that a project names: {params.build}"
        raise ParamsError(what, hint="`repro cost`, `plan`, `train`, `evaluate` and `benchmark` do")
    module, _, name = params.build.partition(":")
    try:
        found: Any = import_own(root, module)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, AttributeError | ModuleNotFoundError)
        hint = "install the package, or put the file into the project" if missing else None
        raise _wrong(params, f"cannot be imported: {_text(error)}", hint=hint) from error
    if not callable(found):
        raise _wrong(params, f"is {_kind(found)}", allowed="a function or class")
    return found  # type: ignore[no-any-return]


def _called(params: ReferenceModel, make: Callable[..., object], arguments: Mapping[str, Any]) -> nn.Module:
    try:
        signature = inspect.signature(make)
        signature.bind(**arguments)
    except ValueError:  # built-in functions have none
        pass
    except TypeError as error:
        allowed = f"args of {params.build.partition(':')[2]}{signature}"
        raise _wrong(params, f"does not take these args: {error}", allowed=allowed) from None
    try:
        net = make(**arguments)
    except (Exception, SystemExit) as error:
        raise _wrong(
            params, f"failed: {_text(error)}", hint="compare `args` with its documentation"
        ) from error
    if not isinstance(net, nn.Module):
        raise _wrong(params, f"returned {_kind(net)}", allowed="a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise _wrong(params, "returned a module without trainable parameters")
    return net


def heads_of(output: object, params: ReferenceModel, *, batch: int, classes: int) -> tuple[Tensor, ...]:
    """Logits of every head, the prediction first.

    Raises:
        ParamsError: the output has none of the known forms, or another batch size or number of classes.
    """
    if isinstance(output, Mapping):
        if "out" not in output:
            raise _unknown(params, f"a mapping with the keys {some_of([str(key) for key in output], 10)}")
        heads = [output[key] for key in ("out", "aux") if output.get(key) is not None]
    else:
        heads = list(output) if isinstance(output, tuple | list) else [output]
    if not heads:
        raise _unknown(params, f"an empty {type(output).__name__}")
    for number, head in enumerate(heads, start=1):
        _check_head(head, f"output {number} of {len(heads)}", params, batch=batch, classes=classes)
    return tuple(heads)


def _check_head(head: object, name: str, params: ReferenceModel, *, batch: int, classes: int) -> None:
    if not isinstance(head, Tensor) or head.ndim != 4 or not head.is_floating_point():
        raise _unknown(params, f"{name}: {_kind(head)}")
    if head.shape[0] != batch:
        raise _unknown(params, f"{name}: a batch of {head.shape[0]} for one of {batch} images")
    if head.shape[1] != classes:
        what = f"returned {name} with {head.shape[1]} classes; the data set has {classes}"
        raise _wrong(params, what, hint="set the number of classes in `args`")


def _unknown(params: ReferenceModel, what: str) -> ParamsError:
    return _wrong(params, f"returned {what}", allowed=FORMS)


def _wrong(
    params: ReferenceModel, what: str, *, allowed: str | None = None, hint: str | None = None
) -> ParamsError:
    return ParamsError(f"{params.build} {what}", where="model.build", allowed=allowed, hint=hint)


def _kind(value: object) -> str:
    """What came, in a few words."""
    name = type(value).__name__
    if isinstance(value, Tensor):
        name = f"{str(value.dtype).removeprefix('torch.')} tensor of shape {list(value.shape)}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _text(error: BaseException) -> str:
    """Type and first lines of a foreign error."""
    lines = " ".join(str(error).split())
    return f"{type(error).__name__}: {lines}"[:500]
