"""A device named "pretend" that computes on the CPU and refuses what a GPU would refuse.

It is a backend of torch written in Python. Its tensors hold a CPU tensor that no program can reach without
`.cpu()`, and an operation that mixes them with tensors of the CPU is an error, as on CUDA and MPS. What
it cannot show: kernels that differ from those of a CPU, streams, and anything asked of `torch.cuda` by name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "pretend"
MOVES = {"copy_", "_to_copy"}  # the operations that may see both devices
AUTOCAST = "AutocastPrivateUse1"


class OnDevice(Tensor):
    """A tensor of the device; `raw` is its content on the CPU."""

    raw: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, raw: Tensor) -> OnDevice:
        made: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=torch.device(NAME, 0),
        )
        made.raw = raw
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(operation, args, kwargs or {})

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Saved as what it holds, like the tensors of a GPU loaded with map_location cpu."""
        return self.raw.__reduce_ex__(protocol)


def computed(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the CPU, its result on the device where it belongs."""
    name = operation.overloadpacket.__name__
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    elsewhere = [t for t in tensors if not isinstance(t, OnDevice) and t.dim()]  # a GPU takes CPU scalars
    if here and elsewhere and name not in MOVES:
        raise RuntimeError(f"{name}: expected all tensors to be on one device, found {NAME} and cpu")
    wanted = kwargs.get("device")
    stays = torch.device(wanted).type == NAME if wanted is not None else bool(here)
    plain = kwargs if wanted is None else kwargs | {"device": "cpu"}
    args, plain = tree_map_only(OnDevice, lambda tensor: tensor.raw, (args, plain))
    result = operation(*args, **plain)
    if not stays:
        return result
    known = {id(tensor.raw): tensor for tensor in here}  # in place: the tensor that was given comes back
    return tree_map_only(Tensor, lambda raw: known[id(raw)] if id(raw) in known else OnDevice(raw), result)


class Factories(TorchFunctionMode):
    """torch.tensor and torch.arange on the device, which a backend in Python cannot make (torch 2.15)."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (
            function not in (torch.tensor, torch.arange)
            or torch.device(kwargs.get("device") or "cpu").type != NAME
        ):
            return function(*args, **kwargs)
        return function(*args, **kwargs | {"device": "cpu"}).to(DEVICE)


class Module(backend_registration._DummyBackendModule):
    """torch.pretend"""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def convolved(*args: Any, **kwargs: Any) -> Tensor:
    """conv2d under autocast: in autocast's type, as on CUDA."""
    dtype = torch.get_autocast_dtype(NAME)
    args, kwargs = tree_map_only(OnDevice, lambda tensor: tensor.to(dtype), (args, kwargs))
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, AUTOCAST))):
        return torch.ops.aten.conv2d(*args, **kwargs)


def _install() -> list[torch.library.Library]:
    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    backend, operations = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    backend.fallback(lambda operation, *args, **kwargs: computed(operation, args, kwargs), "PrivateUse1")
    backend.fallback(torch.library.fallthrough_kernel, AUTOCAST)
    operations.impl("conv2d", convolved, AUTOCAST)
    return [backend, operations]


LIBRARIES = _install()  # torch forgets what nobody holds
DEVICE = torch.device(NAME, 0)
