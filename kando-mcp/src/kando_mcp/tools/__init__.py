"""The tools: their arguments, descriptions and behaviour."""
