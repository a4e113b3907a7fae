"""Why a connection to an endpoint fails, when the reason may be TLS: asked with Python's ssl, because gRPC mumbles.

gRPC says "Socket closed" when a plain-text client meets a TLS port, and "Unwrap failed" when the server wants a client
certificate. The one idea a reader would miss: in TLS 1.3 a server refuses the client's certificate only after the
client takes the handshake for done, so the refusal is found by reading on.
"""

import socket
import ssl

from locksmith.stores.etcd_credentials import Credentials

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""What an HTTP/2 client says first, with empty settings; a server that accepts us answers it."""


def tls_trouble(endpoint: str, credentials: Credentials, timeout: float) -> str | None:
    """What is wrong with TLS at the endpoint, with the option to look at; None when it is not TLS. Seconds."""
    host, _, port = endpoint.rpartition(":")
    address = (host.strip("[]"), int(port))
    try:
        with socket.create_connection(address, timeout=timeout) as plain:
            if not credentials.tls:
                return _speaks_tls(plain)
            with credentials.context().wrap_socket(plain, server_hostname=address[0]) as wrapped:
                return _client_refused(wrapped, credentials)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the server's certificate is not trusted ({error.verify_message}): "
            f"ca_file must name the authority that signed it, and the certificate must name {address[0]!r}"
        )
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST"):
            return "the server does not speak TLS: write etcd:// instead of etcds://"
        return _alert(error, credentials)
    except ConnectionError:
        return None
    except OSError:
        return None


def _speaks_tls(plain: socket.socket) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only whether it is TLS; nothing is sent over it
    context.set_alpn_protocols(["h2"])
    try:
        context.wrap_socket(plain).close()
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST"):
            return None
    return "the server speaks TLS: write etcds:// instead of etcd://, and set ca_file"


def _client_refused(wrapped: ssl.SSLSocket, credentials: Credentials) -> str | None:
    try:
        wrapped.sendall(_PREFACE)
        wrapped.recv(1)
    except ssl.SSLError as error:
        return _alert(error, credentials)
    return None


def _alert(error: ssl.SSLError, credentials: Credentials) -> str:
    reason = (error.reason or f"{error}").replace("_", " ").lower()
    if "alert" not in reason:
        return f"the TLS handshake failed ({reason})"
    if credentials.access.cert_file is None:
        return f"the server asks for a client certificate ({reason}): set cert_file and key_file"
    return f"the server refuses our client certificate ({reason}): check cert_file and the server's trusted authority"
