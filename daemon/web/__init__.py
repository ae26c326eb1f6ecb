"""The status page, metrics and health checks: what the store knows, shown to people and to monitoring."""
