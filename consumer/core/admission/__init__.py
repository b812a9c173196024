"""May we read, may we send, and when.

Memory, request rate, circuit breaker, pauses, retry policy.
"""
