"""An MCP server that drives Kando from an IDE host."""
