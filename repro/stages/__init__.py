"""What the stages of an experiment do. A command of `repro/cli` parses, calls one function here and prints.

Nothing here prints: what a person should hear while a stage runs goes to a `Voice` (`repro.stages.reporter`).
Import the module that is needed; `ready`, `seeds`, `chain`, `shown` and `voice` work without torch.
"""
