"""Certificates of files and of a server on loopback, made by the `cryptography` package, which reads them too."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509

from locksmith.host.certificates import Certificate, Served, decode, of_file, served
from locksmith.host.tls import FilesUnusable, Tls
from tests.servers.certs import Certificates, make_certificates

WAIT = 20.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certs"))


def test_the_fields_are_those_that_others_read(made: Certificates) -> None:
    for path in (made.ca, made.server_cert, made.untrusted_client_cert):
        theirs = x509.load_pem_x509_certificate(path.read_bytes())
        (ours,) = of_file(path)
        assert ours.expires == theirs.not_valid_after_utc
        assert theirs.subject.rfc4514_string() == f"CN={ours.subject}"
        assert theirs.issuer.rfc4514_string() == f"CN={ours.issuer}"


def test_several_in_one_file(made: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    path.write_text(made.server_cert.read_text() + "words between\n" + made.ca.read_text())
    assert [each.subject for each in of_file(path)] == ["localhost", "locksmith test authority"]
    assert of_file(made.server_key) == ()


def test_files_that_cannot_be_read(made: Certificates, tmp_path: Path) -> None:
    with pytest.raises(FilesUnusable, match="no such file"):
        of_file(tmp_path / "missing.pem")
    whole = made.ca.read_text().splitlines()
    path = tmp_path / "half.pem"
    path.write_text("\n".join([*whole[:3], whole[-1]]))
    with pytest.raises(FilesUnusable, match="cannot be read"):
        of_file(path)


def test_what_is_no_certificate_is_a_value_error(made: Certificates) -> None:
    der = ssl.PEM_cert_to_DER_cert(made.ca.read_text())
    for place in range(0, len(der) - 1, 7):
        with suppress(ValueError):
            decode(der[:place])
        with suppress(ValueError):
            assert isinstance(decode(der[:place] + bytes([der[place] ^ 0x55]) + der[place + 1 :]), Certificate)


@contextmanager
def server(made: Certificates) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server_cert, made.server_key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as wrapped:
                        wrapped.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT)


def test_a_server_shows_its_certificate_also_when_it_is_not_trusted(made: Certificates) -> None:
    with server(made) as port:
        good = served("127.0.0.1", port, Tls(ca_file=made.ca), WAIT)
        bad = served("127.0.0.1", port, Tls(ca_file=made.untrusted_ca), WAIT)
    (own,) = of_file(made.server_cert)
    assert good == Served(own, "")
    assert bad is not None
    assert bad.certificate == own
    assert "not trusted" in bad.trouble
    assert str(made.untrusted_ca) in bad.trouble


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert served("127.0.0.1", port, Tls(), WAIT) is None
