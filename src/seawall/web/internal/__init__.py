"""HTTP between parts of a cluster: peers, sites, probe, scanner adapter."""
