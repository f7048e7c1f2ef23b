"""Kits as the faces see them: found by name, described, drawn and tried by their demo."""
