"""Training: schedules, losses, the loop, exact resume. Nothing here knows MLflow, DVC or tables.

Import the module that is needed (`repro.training.loop`, `repro.training.schedule`, ...); the schedule works
without torch.
"""
