"""Run many experiments on one machine or a cluster: cheapest first, within a budget, on all GPUs."""

from repro.fleet.launcher import Handle, Launcher, LocalLauncher
from repro.fleet.run import Fleet, Job
from repro.fleet.scheduler import Estimate, estimate, plan, speeds
from repro.fleet.slurm import SlurmLauncher

__all__ = [
    "Estimate",
    "Fleet",
    "Handle",
    "Job",
    "Launcher",
    "LocalLauncher",
    "SlurmLauncher",
    "estimate",
    "plan",
    "speeds",
]
