"""One file is one analysis is one subcommand."""
