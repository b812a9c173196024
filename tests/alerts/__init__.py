"""The alerts on real parts: a fault on, Debian's Prometheus scrapes, the alert it names fires; the
fault off, it resolves. ``make alerts``; what it gave stands in docs/alerts.md.
"""
