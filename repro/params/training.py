"""Parameters of a training run: every choice that differs between the schedules of the five pages.

Most rows share the defaults, so a recipe sets five to ten of them. Learning rates are per update, `batch`
counts images over all devices, and an *iteration* is one update of the weights, counted from 0.

    one update = accumulate micro-batches on each of the devices; batch = devices x accumulate x micro-batch
    one epoch  = floor(images / batch) x epoch_scale iterations  (incomplete last batches are dropped)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Lt

from repro.params.parse import BelowOne, Count, Later, NotNegative, PlainName, Positive, Share

Multipliers: TypeAlias = Mapping[str, NotNegative]  # by the beginning of parameter names


@dataclass(frozen=True, kw_only=True)
class TrainingParams:
    """Optimiser, schedule, loss, batch and hardware of a training run."""

    # --- Data and duration: exactly one of `epochs` and `iterations`.
    split: PlainName
    """Split of the data set for training (train, trainval, train_aug, ...)."""
    batch: Count
    """Images per update over all devices (003 prints it per GPU: multiply)."""
    epochs: Count | None = None
    iterations: Count | None = None
    epoch_scale: Count = 1
    """Number of passes per epoch (EPOCH_SCALE of page 003; 1 elsewhere)."""
    pad_epoch: Later[bool] = False
    """Repeat the first images of an epoch until all `devices` have equally many, as DistributedSampler does
    (001, 002): 372 iterations from Cityscapes' 2,975 images at batch 8, not 371."""
    epoch_devices: Count = 1
    """Number of GPUs by which page 003 counts an epoch: floor(N / (batch / GPUs)) iterations."""

    # --- Optimiser.
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Positive
    momentum: BelowOne = 0.9
    """SGD only."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    """Adam only."""
    eps: Positive = 1e-8
    """Adam only: 2.5e-4 on page 003, 1e-7 (Keras) for the TensorFlow rows of page 000."""
    eps_rule: Later[Literal["torch", "tensorflow"]] = "torch"
    """Adam only: add eps after the bias correction of the second moment (torch: algorithm 1 of Kingma & Ba)
    or before it (TensorFlow: their "epsilon hat"; at update t, torch's eps / sqrt(1 - beta2^t))."""
    lr_backbone: NotNegative = 1.0
    """Multiplier of `lr` for parameters under `model.backbone` (0.1 for the PyTorch rows of page 000)."""
    lr_head: NotNegative = 1.0
    """Multiplier of `lr` for all other parameters."""
    lr_of: Later[Multipliers] = field(default_factory=dict)
    """Multiplier of `lr` by the beginning of a parameter's name, in which `*` stands for any characters:
    {"aux_classifier.": 10}. The first that matches takes the place of lr_backbone and lr_head."""
    grad_of: Later[Multipliers] = field(default_factory=dict)
    """The same for the gradient and its decay, in place of grad_weight and grad_bias."""
    grad_weight: NotNegative = 1.0
    """Multiplier of the gradient of the classifier's weights and their decay (5 or 10 on page 003)."""
    grad_bias: NotNegative = 1.0
    """The same for the classifier's bias (10 or 20 on page 003)."""
    grad_scope: Later[Literal["classifier", "head"]] = "classifier"
    """head: every convolution without ImageNet weights, including stages 5 and later (003 slim)."""
    weight_decay: NotNegative = 0.0
    """c of the penalty c/2 |W|^2, added to the gradient as c W (as in torch and TensorFlow)."""
    weight_decay_on: Literal["all", "kernels"] = "all"
    """all: every parameter including norms and biases (PyTorch pages); kernels: convolution weights (003)."""
    weight_decay_factor: Annotated[float, Gt(0), Le(1)] = 1.0
    """Factor applied to weight_decay every `weight_decay_steps` iterations (0.7 on page 003)."""
    weight_decay_steps: Count = 80_000
    clip_norm: Positive | None = None
    """Maximum norm of the gradient; none of the pages clips."""

    # --- Learning rate over time.
    schedule: Literal["constant", "poly", "step", "plateau"] = "poly"
    power: Positive = 0.9
    """poly: (1 - iteration / iterations) ^ power."""
    floor: NotNegative = 0.0
    """poly: lowest learning rate, absolute (1e-6 on page 000, 1e-4 or 1e-5 on page 004)."""
    floor_ratio: Share = 0.0
    """poly: lowest learning rate relative to `lr` (0.01 on pages 001 and 002); the larger floor applies."""
    floor_rule: Literal["blend", "clamp"] = "blend"
    """blend: floor + (lr - floor) x poly (001, 002, 004); clamp: max(lr x poly, floor) (page 000)."""
    steps: tuple[tuple[Count, Positive], ...] = ()
    """step: (epoch, lr) pairs, each applied after that many complete epochs: [[4, 1e-4], [8, 1e-5]]."""
    plateau_factor: Annotated[float, Gt(0), Lt(1)] = 0.5
    plateau_patience: Count = 20
    """plateau: validations without improvement of `monitor` before the learning rate is reduced."""
    warmup: Annotated[int, Ge(0)] = 0
    """Iterations of linear warm-up from warmup_ratio x lr; none of the pages has it."""
    warmup_ratio: Share = 0.0

    # --- Loss: cross entropy of the logits resized to the label size; 255 is ignored.
    loss_average: Literal["valid", "all"] = "valid"
    """Mean over labelled pixels, or over all pixels with 0 for ignored ones (mmsegmentation, page 004)."""
    heads: Literal["weighted", "mean"] = "weighted"
    """weighted: first head + aux_weight x the others; mean: of all heads (newdid6 of page 003)."""
    aux_weight: NotNegative = 0.4
    ohem_threshold: Annotated[float, Gt(0), Lt(1)] | None = None
    """OHEM: only pixels whose true class has a probability below this; none of the pages uses it."""
    ohem_keep: Share = 0.0625
    """OHEM: minimum share of the labelled pixels (1/16 as in common implementations)."""

    # --- Batch normalisation (momentum and eps are model parameters).
    batch_norm: Literal["local", "sync", "frozen"] = "local"
    """local: statistics per device; sync: over all devices; frozen: the stored statistics, not updated."""
    norm_affine: Literal["trained", "fixed"] = "trained"
    """fixed: scale and shift of normalisations are not trained (003-100, 'betagammafix')."""

    # --- Validation during training and choice of the final weights.
    keep: Literal["last", "best"] = "last"
    monitor: Literal["mIoU", "loss"] = "mIoU"
    """The validation value for `keep: best` and `schedule: plateau`; a lower loss is better."""
    validate_every: Count | Literal["epoch"] | None = None
    """Iterations between validations on `evaluation.split` under its protocol (at one scale); none: never."""

    # --- Hardware: changes the last bits of a result, not its meaning.
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    """Use torch.compile, after a check that its gradients equal those of the eager network."""
    accumulate: Count = 1
    """Micro-batches per update and device, for batches that exceed the memory (BN sees a micro-batch)."""
    devices: Count | None = None
    """Devices of the published run if known: for the record and `repro plan`, not required."""
    threads: Annotated[int, Gt(0), Le(1024)] | None = None
    """CPU threads for computation; none: torch's default. Changes the last bits."""
    deterministic: bool = True
    """Use deterministic kernels where they exist; the others are listed in the journal."""

    # --- Logging and checkpoints: no effect on the result.
    checkpoint_minutes: NotNegative = 10.0
    log_every: Count = 10
    """Iterations per journal line, which holds their mean loss."""
    diverge_loss: Positive = 100.0
    diverge_after: Count = 500
    """Stop after this many consecutive iterations with a mean loss above `diverge_loss`, or at NaN."""

    def __post_init__(self) -> None:
        """Raise ValueError for invalid combinations; `parse` converts it to a ParamsError."""
        for invalid, allowed in _invalid_combinations(self):
            if invalid:
                raise ValueError(allowed)

    @property
    def needs_validation(self) -> bool:
        """Whether training requires validation: for `keep: best` or `schedule: plateau`."""
        return self.keep == "best" or self.schedule == "plateau"


def _invalid_combinations(p: TrainingParams) -> list[tuple[bool, str]]:
    """(whether the combination is invalid, what is allowed)."""
    after = [epoch for epoch, _ in p.steps]
    shares = p.accumulate * p.epoch_devices
    return [
        ((p.epochs is None) == (p.iterations is None), "exactly one of epochs and iterations"),
        (p.batch % shares != 0, f"batch divisible by accumulate x epoch_devices ({shares})"),
        (p.pad_epoch and p.devices is None, "devices with pad_epoch"),
        ((p.schedule == "step") != bool(p.steps), "steps together with `schedule: step`"),
        (after != sorted(set(after)), "steps as [[epoch, lr], ...] with increasing epochs"),
        (
            p.needs_validation and p.validate_every is None,
            "validate_every with `keep: best` or `schedule: plateau`",
        ),
        (p.ohem_threshold is not None and p.loss_average == "all", "ohem_threshold with loss_average valid"),
    ]
