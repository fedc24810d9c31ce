"""The command line: one file per command or group of commands. Nothing is computed here; the rooms below are asked."""
