"""Seawall tests: real parts, no mocks."""
