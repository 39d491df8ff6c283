"""What keeps a registry available: clusters, peers, sites and backups."""
