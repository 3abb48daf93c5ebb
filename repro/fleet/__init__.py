"""Many experiments on one machine or a cluster: cheapest first, within a budget, on every GPU."""

from repro.fleet.estimate import Estimate, estimate, speed_of
from repro.fleet.launch import LAUNCHERS, Handle, Launcher, LocalLauncher, SlurmLauncher
from repro.fleet.plan import choose, plan
from repro.fleet.run import Fleet, Job

__all__ = [
    "LAUNCHERS",
    "Estimate",
    "Fleet",
    "Handle",
    "Job",
    "Launcher",
    "LocalLauncher",
    "SlurmLauncher",
    "choose",
    "estimate",
    "plan",
    "speed_of",
]
