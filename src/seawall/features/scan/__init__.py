"""Scanning: package lists read from layers, advisories, matches, reports, SBOMs, scanner adapters."""
