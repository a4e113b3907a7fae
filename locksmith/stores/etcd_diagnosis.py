"""Why a connection to an endpoint fails, when the reason may be TLS: asked with Python's ssl, because gRPC mumbles.

gRPC says "Socket closed" when a plain-text client meets a TLS port, and "Unwrap failed" when the server wants a client
certificate. The one idea a reader would miss: in TLS 1.3 a server refuses the client's certificate only after the
client takes the handshake for done, so the refusal is found by reading on (and by not writing, which could meet the
closed connection first).
"""

import ssl
import time

from locksmith.host.dialling import connected
from locksmith.stores.etcd_credentials import Credentials

_ALERT_SECONDS = 0.5
"""How long a server that refuses our certificate may take to say so; one that accepts it waits for us to speak."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""What an HTTP/2 client says first; a server that speaks it answers with a settings frame (RFC 9113, 3.4)."""
_FRAME_HEAD = 9
_SETTINGS = 4

_Address = tuple[str, int]


def tls_trouble(endpoint: str, credentials: Credentials, timeout: float) -> str | None:
    """What is wrong with TLS at the endpoint, with the option to look at; None when it is not TLS.

    The first look may take two thirds of `timeout` (seconds), a second one the rest.
    """
    until = time.monotonic() + timeout
    timeout *= 2 / 3
    host, _, port = endpoint.rpartition(":")
    address = (host.strip("[]"), int(port))
    try:
        if not credentials.tls:
            return _speaks_tls(address, timeout)
        with (
            connected(*address, timeout) as plain,
            credentials.context().wrap_socket(plain, server_hostname=address[0]) as wrapped,
        ):
            wrapped.settimeout(min(_ALERT_SECONDS, timeout))
            wrapped.recv(1)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the server's certificate is not trusted ({error.verify_message}): "
            f"ca_file must name the authority that signed it, and the certificate must name {address[0]!r}"
        )
    except OSError as error:
        if isinstance(error, ssl.SSLError) and (alert := _alert(error, credentials)):
            return alert
        if (left := until - time.monotonic()) > 0 and _speaks_plain(address, left):
            return "the server does not speak TLS: write etcd:// instead of etcds://"
    return None


def _alert(error: ssl.SSLError, credentials: Credentials) -> str | None:
    """What the server says against us. An end without a word proves nothing: its machine may be going down."""
    reason = (error.reason or "").replace("_", " ").lower()
    if "alert" not in reason:
        return None
    if "certificate" not in reason and "unknown ca" not in reason:
        return f"the TLS handshake failed ({reason})"
    if credentials.access.cert_file is None:
        return f"the server asks for a client certificate ({reason}): set cert_file and key_file"
    return f"the server refuses our client certificate ({reason}): check cert_file and the server's trusted authority"


def _speaks_tls(address: _Address, timeout: float) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only whether it is TLS; nothing is sent over it
    context.set_alpn_protocols(["h2"])
    try:
        with connected(*address, timeout) as plain:
            context.wrap_socket(plain).close()
    except OSError as error:
        if "ALERT" not in (getattr(error, "reason", None) or ""):
            return None
    return "the server speaks TLS: write etcds:// instead of etcd://, and set ca_file"


def _speaks_plain(address: _Address, timeout: float) -> bool:
    try:
        with connected(*address, timeout) as plain:
            plain.settimeout(min(_ALERT_SECONDS, timeout))
            plain.sendall(_PREFACE)
            head = plain.recv(_FRAME_HEAD)
    except OSError:
        return False
    return len(head) == _FRAME_HEAD and head[3] == _SETTINGS
