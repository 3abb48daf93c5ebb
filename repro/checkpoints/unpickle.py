"""PyTorch's pickle files, read without importing or calling anything that they name.

Training programs save numpy scalars, configurations and log buffers beside the weights. `torch.load` with
`weights_only=True` refuses such a file as a whole; here tensors are rebuilt, and every other object becomes
an empty stand-in.
"""

from __future__ import annotations

import pickle
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from repro.checkpoints.contents import damaged, require_checkpoint
from repro.errors import CheckpointError

# Modules that only an attack names. No stand-in calls them either: the refusal is there to say so.
REFUSED = frozenset({"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "importlib", "ctypes"})
REFUSED_BUILTINS = frozenset({"eval", "exec", "compile", "open", "__import__", "breakpoint", "input"})

# What makes tensors and their containers. Each function comes in a new `partial`: a file can set attributes
# of what it is given.
_FUNCTIONS = (torch._utils._rebuild_tensor, torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter)
ALLOWED: dict[str, Callable[[], Any]] = {
    f"torch._utils.{function.__name__}": partial(partial, function) for function in _FUNCTIONS
}
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
ALLOWED |= {f"torch.{name}": partial(_DTYPES.get, name) for name in _DTYPES}
ALLOWED |= {
    "collections.OrderedDict": lambda: OrderedDict,
    "collections.defaultdict": lambda: lambda *_: {},  # its entries follow; what makes new ones is not needed
    "torch.Size": lambda: torch.Size,
    "torch.device": lambda: torch.device,
}


class Skipped:
    """Stands for an object of the file that is not loaded; it takes every instruction and keeps nothing."""

    path = ""  # module and name, as the file has them

    def __new__(cls, *_: object, **__: object) -> Skipped:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __call__(self, *_: object, **__: object) -> Skipped:
        return self

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None: ...

    def extend(self, items: object) -> None: ...

    def add(self, item: object) -> None: ...


def read_pickle(path: Path) -> tuple[Any, tuple[str, ...]]:
    """(what `path` holds, on the CPU; the names of the objects in it that were skipped).

    CheckpointError for a file that is no PyTorch file, is cut short, or names a module that runs commands.
    """
    require_checkpoint(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old pickle protocol; what it cannot read is an error below
            return torch.load(path, map_location="cpu", weights_only=True), ()
    except pickle.UnpicklingError:
        return _read_skipping(path)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything: KeyError, struct.error, AssertionError
        raise damaged(path, error) from None


def _read_skipping(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The same file with stand-ins.

    `torch.load` takes a pickle module only with `weights_only=False`. Ours imports nothing that a file names,
    and gives it no function but those of ALLOWED.
    """
    skipped: dict[str, type[Skipped]] = {}
    module = types.ModuleType("repro.checkpoints.stand_ins")
    unpickler = type("Unpickler", (_Unpickler,), {"skipped": skipped, "source": path})
    vars(module).update(Unpickler=unpickler, load=lambda file, **options: unpickler(file, **options).load())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)
    except (CheckpointError, OSError):
        raise
    except Exception as error:
        raise damaged(path, error) from None
    plain = ("builtins.", "__builtin__.", "_codecs.", "copyreg.", "copy_reg.")
    return found, tuple(sorted(name for name in skipped if not name.startswith(plain)))


# The interpreter's own unpickler: the one in C sizes its memo by a number that the file gives.
class _Unpickler(pickle._Unpickler):
    skipped: dict[str, type[Skipped]]
    source: Path

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if module.partition(".")[0] in REFUSED or (
            module in ("builtins", "__builtin__") and name in REFUSED_BUILTINS
        ):
            raise unsupported(path, self.source)
        if path in ALLOWED:
            return ALLOWED[path]()
        return self.skipped.setdefault(path, type(name, (Skipped,), {"path": path}))


def unsupported(name: str, where: Path | None = None) -> CheckpointError:
    return CheckpointError(
        f"unsupported object in the checkpoint: {name}",
        where=where,
        allowed="tensors, numbers, strings, lists and dicts",
        hint="do not load it elsewhere; ask its publisher for `model.state_dict()` alone",
    )
