"""What each command of the command line does; `daemon.cli` declares their options."""
