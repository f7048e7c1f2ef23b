"""The event model, on which every other part of Kando builds."""
