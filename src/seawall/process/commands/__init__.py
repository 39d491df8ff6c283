"""The `seawall` command: one module for each group of commands."""
