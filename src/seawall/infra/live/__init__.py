"""What changes while people look: read from the database every second, for the portal's event streams."""
