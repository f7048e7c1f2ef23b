"""Tools with which authors of kits and plugins test them; nothing here is loaded automatically."""
