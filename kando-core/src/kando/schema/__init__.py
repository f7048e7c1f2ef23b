"""The event model: what every other part of Kando speaks."""
