"""Operations: logs, metrics, health, status and a page."""
