"""What a project gets written: new experiments, and the DVC files of all."""
