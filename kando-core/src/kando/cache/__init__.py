"""Caches of answers from outside."""
