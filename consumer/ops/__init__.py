"""What operations see: logs now; metrics, health and status later."""
