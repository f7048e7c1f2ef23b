"""The app layer: runs by id. The command line and the MCP server are two thin faces over it."""
