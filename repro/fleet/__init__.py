"""Many experiments on one machine or a cluster: cheapest first, within a budget, on every GPU."""

from repro.fleet.estimate import Estimate, estimate, speeds
from repro.fleet.launch import Handle, Launcher, LocalLauncher
from repro.fleet.plan import plan
from repro.fleet.run import Fleet, Job
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
