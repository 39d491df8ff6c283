"""Tag retention: rules that choose which artifacts stay."""
