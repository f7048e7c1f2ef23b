"""Open-ended research: a reference kit for Kando."""
