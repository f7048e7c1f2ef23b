"""Planning: a reference kit for Kando."""
