"""A recall by the sentence vectors of all-MiniLM-L6-v2."""
