"""What operations see: logs, metrics, health, status and a page."""
