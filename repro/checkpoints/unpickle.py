"""Read PyTorch pickle files without importing or calling anything that they name.

Training programs save numpy scalars, configurations and log buffers with the weights. `torch.load` with
`weights_only=True` refuses the whole file. This reader rebuilds tensors and replaces every other object by an
empty placeholder.
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

# Modules that only an attack names. Placeholders never call them; refusing them warns the user.
REFUSED = frozenset({"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "importlib", "ctypes"})
REFUSED_BUILTINS = frozenset({"eval", "exec", "compile", "open", "__import__", "breakpoint", "input"})

# Constructors of tensors and their containers. Each function is wrapped in a new `partial`, since a file can
# set attributes of the objects it gets.
_FUNCTIONS = (torch._utils._rebuild_tensor, torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter)
ALLOWED: dict[str, Callable[[], Any]] = {
    f"torch._utils.{function.__name__}": partial(partial, function) for function in _FUNCTIONS
}
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
ALLOWED |= {f"torch.{name}": partial(_DTYPES.get, name) for name in _DTYPES}
ALLOWED |= {
    "collections.OrderedDict": lambda: OrderedDict,
    "collections.defaultdict": lambda: lambda *_: {},  # its entries follow; the default factory is not needed
    "torch.Size": lambda: torch.Size,
    "torch.device": lambda: torch.device,
}


class Skipped:
    """Placeholder for an object that is not loaded; accepts every pickle instruction and stores nothing."""

    path = ""  # module and name in the file

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
    """Read a PyTorch file onto the CPU.

    Returns:
        (the loaded object, the names of the objects that were skipped).

    Raises:
        CheckpointError: the file is not a PyTorch file, is truncated, or names a module that runs commands.
    """
    require_checkpoint(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old pickle protocol; a failure is an error below
            return torch.load(path, map_location="cpu", weights_only=True), ()
    except pickle.UnpicklingError:
        return _read_skipping(path)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything: KeyError, struct.error, AssertionError
        raise damaged(path, error) from None


def _read_skipping(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Read the file with placeholders for unsupported objects.

    `torch.load` accepts a pickle module only with `weights_only=False`. This one imports nothing that a file
    names, and provides only the functions of ALLOWED.
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


# The pure Python unpickler: the one in C allocates its memo by a number from the file.
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
        hint="do not load it with other programs; ask its publisher for `model.state_dict()`",
    )
