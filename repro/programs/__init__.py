"""Programs of other frameworks: run a command, follow its log file, give it images and labels as files."""
