"""What does no input or output: errors, names, digests, ranges, globs, cron and time formats."""
