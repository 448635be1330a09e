"""Measurements of speed and memory; `make bench` runs them. Tests never time anything."""
