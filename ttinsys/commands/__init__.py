"""Subcommands that are not analyses: each module has one click command, called `command`."""
