"""A throw-away certificate authority with a server's and a client's certificate, and a second one nobody trusts."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files; the server's certificate is for 127.0.0.1, ::1 and localhost."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path
    untrusted_ca: Path
    untrusted_client_cert: Path
    untrusted_client_key: Path


def make_certificates(folder: Path, *, client_name: str = "locksmith", addresses: Sequence[str] = ()) -> Certificates:
    """Write all files into `folder`; `client_name` is the client's common name, which etcd takes as the user.

    The server's certificate is for `addresses`, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ca = _Authority("locksmith test authority")
    stranger = _Authority("a stranger's authority")
    return Certificates(
        ca=ca.write(folder / "ca.pem"),
        untrusted_ca=stranger.write(folder / "untrusted-ca.pem"),
        **_pair(ca, folder, "server", "localhost", addresses),
        **_pair(ca, folder, "client", client_name),
        **_pair(stranger, folder, "untrusted_client", client_name),
    )


def _pair(
    authority: "_Authority", folder: Path, name: str, common_name: str, more: Sequence[str] = ()
) -> dict[str, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.SERVER_AUTH if name == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    # etcd's gateway calls its own server with the server's certificate, so that one is a client's too
    usages = [usage, ExtendedKeyUsageOID.CLIENT_AUTH] if name == "server" else [usage]
    addresses = [ipaddress.ip_address(text) for text in ("127.0.0.1", "::1", *more)]
    builder = _builder(common_name, authority.name, key).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if name == "server":
        names = [x509.DNSName("localhost"), *(x509.IPAddress(address) for address in addresses)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    certificate = builder.sign(authority.key, hashes.SHA256())
    cert_path, key_path = folder / f"{name}.pem", folder / f"{name}-key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {f"{name}_cert": cert_path, f"{name}_key": key_path}


class _Authority:
    def __init__(self, common_name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self.certificate = (
            _builder(common_name, self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def write(self, path: Path) -> Path:
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _builder(common_name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
    )
