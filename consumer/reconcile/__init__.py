"""Compare what the API holds for each code with what the topic's events say: see docs/reconcile.md.

The way of a run: ``collect`` reads the topics into ``changes`` (a temporary database), ``download``
fetches the API's document, ``document`` reads it, ``expectation`` folds each code's changes,
``comparison`` judges a code, ``report`` tells. ``job`` connects them.
"""
