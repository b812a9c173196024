"""From a response to a verdict to the next step of its window; tasks, confirmations, API health."""
