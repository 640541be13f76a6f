"""Running, tracing and rebuilding torch networks, whatever framework their neurons come from."""
