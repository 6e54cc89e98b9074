def mcp_config(places): return "{}"
