"""The Scantrust SCM API over HTTP: one attempt a call, all calls in one thread."""
