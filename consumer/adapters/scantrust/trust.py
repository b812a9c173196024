"""Verify the API by CA certificates that are read again whenever a connection is made."""

from __future__ import annotations

import functools
import logging
import ssl
import threading
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from consumer.errors import ConfigError

_log = logging.getLogger(__name__)


class TrustedCas:
    """The verifying context as it is now, shared by all connections, as it takes long to make.

    ``ca_file`` is read whenever a connection is made, and a context is made of it anew when it
    holds something else. To read it is as cheap as to look whether it has changed, and cannot be
    fooled by times, sizes and links. So a CA counts from the next connection on, and a certificate
    that was refused is judged by the file as it is at the next try. A file that has become
    unreadable, or holds no certificate, leaves what was good last in use: it may be in the middle
    of being replaced.

    ``ca_file`` empty: the certificates that come with requests; the environment has no say.
    ConfigError at the start for a file that cannot be read or holds no certificate.
    """

    def __init__(self, ca_file: str) -> None:
        self.ca_file = ca_file
        self._lock = threading.Lock()
        self._complained = False
        try:
            self._content, self._context = self._read()
        except OSError as error:
            raise ConfigError(
                [
                    f"{self._what_is_wrong(error)}; "
                    "give a PEM file with the CA of the API's certificate"
                ]
            ) from None

    def context(self) -> ssl.SSLContext:
        """Return the context for a connection that is made now."""
        if self.ca_file:
            with self._lock:
                self._read_again()
        return self._context

    def _read_again(self) -> None:
        try:
            if Path(self.ca_file).read_bytes() != self._content:
                self._content, self._context = self._read()
                _log.info("api.ca_file: %s: read again, as it has changed", self.ca_file)
            self._complained = False
        except OSError as error:
            if not self._complained:
                self._complained = True
                _log.warning(
                    "%s; the certificates that were read before stay in use",
                    self._what_is_wrong(error),
                )

    def _read(self) -> tuple[bytes, ssl.SSLContext]:
        # The content first: if the file is replaced in between, it differs from it the next time.
        content = Path(self.ca_file).read_bytes() if self.ca_file else b""
        context = ssl.create_default_context(cafile=self.ca_file or DEFAULT_CA_BUNDLE_PATH)
        context.set_alpn_protocols(["http/1.1"])  # else a server might choose HTTP/2
        return content, context

    def _what_is_wrong(self, error: OSError) -> str:
        bad = isinstance(error, ssl.SSLError)
        reason = "no PEM certificate in it" if bad else f"cannot be read ({error.strerror})"
        return f"api.ca_file: {self.ca_file}: {reason}"


#: One for each file.
trusted_cas = functools.cache(TrustedCas)
