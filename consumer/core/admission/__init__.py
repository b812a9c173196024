"""May we read, may we send, and when: memory, request rate, circuit breaker, pauses, back-off."""
