"""The Scantrust SCM API over HTTP.

One attempt a call, in worker threads, and what each of them brought.
"""
