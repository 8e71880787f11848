"""The command line: a file for each command, which parses, calls once and prints."""
