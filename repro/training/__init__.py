"""Training: schedules, losses, the loop, exact resume. This package does not depend on MLflow or DVC.

Import modules directly (`repro.training.loop`, ...); `repro.training.schedule` does not import torch.
"""
