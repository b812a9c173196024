"""The Scantrust SCM API over HTTP: one attempt a call, in worker threads."""
