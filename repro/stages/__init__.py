"""The stages of an experiment. Commands in `repro/cli` parse options, call one function here and print.

Stages do not print; they send messages to a `Reporter` (`repro.stages.reporter`). Import modules directly:
`inputs_ready`, `seeds`, `pipeline`, `summary` and `reporter` do not import torch.
"""
