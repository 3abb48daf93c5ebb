"""Parameters of a training run: every choice in which the five pages' schedules differ, by name.

Defaults are what most rows share, so a recipe block states five to ten of them. Units: learning rates are per
update, `batch` counts images over all devices, an *iteration* is one update of the weights, counted from 0.

    one update = accumulate micro-batches on each of the devices; batch = devices x accumulate x micro-batch
    one epoch  = floor(images / batch) x epoch_scale iterations  (incomplete last batches are dropped)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from repro.params.parse import BelowOne, Count, NotNegative, PlainName, Positive, Share


@dataclass(frozen=True, kw_only=True)
class TrainingParams:
    """Optimiser, schedule, loss, batch and machine of one training run."""

    # --- What is learned from, and for how long: exactly one of `epochs` and `iterations`.
    split: PlainName
    """Split of the data set that is trained on (train, trainval, train_aug, ...)."""
    batch: Count
    """Images per update over all devices, as the page counts it (003 prints it per GPU: multiply)."""
    epochs: Count | None = None
    iterations: Count | None = None
    epoch_scale: Count = 1
    """Page 003 calls this many passes one epoch (its EPOCH_SCALE; 1 elsewhere)."""
    pad_epoch: bool = False
    """An epoch repeats its first images until each of `devices` has as many, as torch's DistributedSampler
    does (001, 002): 372 iterations from Cityscapes' 2,975 images at batch 8, not 371."""
    epoch_devices: Count = 1
    """Page 003 counts an epoch in batches of one GPU: its GPU count here gives floor(N / (batch / GPUs))."""

    # --- Optimiser.
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Positive
    momentum: BelowOne = 0.9
    """SGD only."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    """Adam only."""
    eps: Positive = 1e-8
    """Adam only: 2.5e-4 on page 003, 1e-7 (Keras) for the TensorFlow rows of page 000."""
    eps_rule: Literal["torch", "tensorflow"] = "torch"
    """Adam only: eps is added after the bias correction of the second moment (torch: algorithm 1 of Kingma &
    Ba) or before it (TensorFlow: their "epsilon hat"; at update t, torch's eps / sqrt(1 - beta2^t))."""
    lr_backbone: NotNegative = 1.0
    """Multiplier of `lr` for parameters under `model.backbone` (0.1 for the PyTorch rows of page 000)."""
    lr_head: NotNegative = 1.0
    """Multiplier of `lr` for all other parameters."""
    grad_weight: NotNegative = 1.0
    """Multiplier of the gradient of the classifier's weights, their decay included (5 or 10 on page 003)."""
    grad_bias: NotNegative = 1.0
    """The same for the classifier's bias (10 or 20 on page 003)."""
    grad_scope: Literal["classifier", "head"] = "classifier"
    """head: of every convolution that is not ImageNet's, a fifth and later stage included (003 slim)."""
    weight_decay: NotNegative = 0.0
    """c of the penalty c/2 |W|^2, added to the gradient as c W (torch and TensorFlow alike)."""
    weight_decay_on: Literal["all", "kernels"] = "all"
    """all: every parameter, norms and biases too (PyTorch pages); kernels: weights of convolutions (003)."""
    weight_decay_factor: Annotated[float, Gt(0), Le(1)] = 1.0
    """The coefficient is multiplied by this after every `weight_decay_steps` iterations (0.7 on page 003)."""
    weight_decay_steps: Count = 80_000
    clip_norm: Positive | None = None
    """Largest norm of the whole gradient; none of the pages clips."""

    # --- Learning rate over time.
    schedule: Literal["constant", "poly", "step", "plateau"] = "poly"
    power: Positive = 0.9
    """poly: (1 - iteration / iterations) ^ power."""
    floor: NotNegative = 0.0
    """poly: lowest learning rate, absolute (1e-6 on page 000, 1e-4 or 1e-5 on page 004)."""
    floor_ratio: Share = 0.0
    """poly: lowest learning rate as a part of `lr` (0.01 on pages 001 and 002); the larger floor counts."""
    floor_rule: Literal["blend", "clamp"] = "blend"
    """blend: floor + (lr - floor) x poly (001, 002, 004); clamp: max(lr x poly, floor) (page 000)."""
    steps: tuple[tuple[Count, Positive], ...] = ()
    """step: (epoch, lr) pairs; the value holds once so many epochs are complete: [[4, 1e-4], [8, 1e-5]]."""
    plateau_factor: Annotated[float, Gt(0), Lt(1)] = 0.5
    plateau_patience: Count = 20
    """plateau: validations without progress of `monitor` before the learning rate is multiplied."""
    warmup: Annotated[int, Ge(0)] = 0
    """Iterations over which the rate rises linearly from warmup_ratio x lr; none of the pages has it."""
    warmup_ratio: Share = 0.0

    # --- Loss. Cross entropy of the logits resized to the label; 255 is never counted as a class.
    loss_average: Literal["valid", "all"] = "valid"
    """Mean over labelled pixels, or over all pixels with 0 for ignored ones (mmsegmentation, page 004)."""
    heads: Literal["weighted", "mean"] = "weighted"
    """weighted: first head + aux_weight x the others; mean of all heads (newdid6 of page 003)."""
    aux_weight: NotNegative = 0.4
    ohem_threshold: Annotated[float, Gt(0), Lt(1)] | None = None
    """Count only pixels whose true class has a probability below this; none of the pages does."""
    ohem_keep: Share = 0.0625
    """...but always at least this part of the labelled pixels (1/16 as in common code)."""

    # --- Batch normalisation (momentum and eps belong to the model).
    batch_norm: Literal["local", "sync", "frozen"] = "local"
    """local: statistics per device; sync: over all devices; frozen: the stored ones, left alone."""
    norm_affine: Literal["trained", "fixed"] = "trained"
    """fixed: scale and shift of normalisations are not trained (003-100, 'betagammafix')."""

    # --- Validation during training, and which weights are the result.
    keep: Literal["last", "best"] = "last"
    monitor: Literal["mIoU", "loss"] = "mIoU"
    """What `keep: best` and `schedule: plateau` watch; loss is better when lower."""
    validate_every: Count | Literal["epoch"] | None = None
    """Iterations between validations on `evaluation.split` under its protocol (at one scale); none: never."""

    # --- Machine: changes the last bits of a result, not its meaning.
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    """torch.compile, after a check that its gradients are those of the plain network."""
    accumulate: Count = 1
    """Micro-batches per update and device, so that a large batch fits a small card (BN sees less)."""
    devices: Count | None = None
    """Devices of the published run where known: for the record and `repro plan`, not a demand."""
    threads: Annotated[int, Gt(0), Le(1024)] | None = None
    """CPU threads of the computation; none: torch's own choice. Another number gives other last bits."""
    deterministic: bool = True
    """Deterministic kernels where they exist; the others are listed in the journal."""

    # --- Housekeeping: changes no number.
    checkpoint_minutes: NotNegative = 10.0
    log_every: Count = 10
    """Iterations whose mean loss makes one journal line."""
    diverge_loss: Positive = 100.0
    diverge_after: Count = 500
    """A mean loss above `diverge_loss` for so many iterations on end stops the run; NaN does at once."""

    def __post_init__(self) -> None:
        """Invalid combinations of keys: a ValueError becomes a ParamsError that names the file."""
        for broken, message in _contradictions(self):
            if broken:
                raise ValueError(message)

    @property
    def watched(self) -> bool:
        """Whether training needs validation: to choose the best weights or to lower the learning rate."""
        return self.keep == "best" or self.schedule == "plateau"


def _contradictions(p: TrainingParams) -> list[tuple[bool, str]]:
    """(whether it is wrong, what is allowed)."""
    after = [epoch for epoch, _ in p.steps]
    shares = p.accumulate * p.epoch_devices
    return [
        ((p.epochs is None) == (p.iterations is None), "exactly one of epochs and iterations"),
        (p.batch % shares != 0, f"batch divisible by accumulate x epoch_devices ({shares})"),
        (p.pad_epoch and p.devices is None, "devices with pad_epoch: how many the epoch is shared among"),
        ((p.schedule == "step") != bool(p.steps), "steps together with `schedule: step`"),
        (after != sorted(set(after)), "steps as [[epoch, lr], ...] with rising epochs"),
        (p.watched and p.validate_every is None, "validate_every with `keep: best` or `schedule: plateau`"),
        (p.ohem_threshold is not None and p.loss_average == "all", "ohem_threshold with loss_average valid"),
    ]
