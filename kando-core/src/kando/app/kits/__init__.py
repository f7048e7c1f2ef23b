"""Kits for the interfaces: look them up by name, describe them, draw them, and run their demos."""
