"""Which extra of the package brings a module that a light installation lacks."""

from __future__ import annotations

EXTRA_OF = {
    **dict.fromkeys(("accelerate", "safetensors", "torch", "torchvision"), "train"),
    **dict.fromkeys(("dvc", "matplotlib", "mlflow", "sqlalchemy"), "pipeline"),
    "pyarrow": "all",
}


def missing_extra(error: ImportError) -> str:
    """What to install for a module that could not be imported; "" if no extra brings it."""
    module = (error.name or "").split(".")[0]
    if not isinstance(error, ModuleNotFoundError) or module not in EXTRA_OF:
        return ""
    return (
        f"this command needs {module}, which is not installed\n"
        f"  next: pip install 'deeplab-repro[{EXTRA_OF[module]}]', or [all] for every command"
    )
