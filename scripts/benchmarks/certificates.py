"""Certificates for tests and measurements: an authority of our own, and what it signs.

Keys are elliptic (P-256), made in a millisecond; a certificate is valid for a day.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: all that a peer on the loopback may be called
LOOPBACK = ('localhost', '127.0.0.1', '::1')


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the certificate, its key, and the authority that vouches for it."""

    cert: Path
    key: Path
    ca: Path


class Authority:
    """A certificate authority that keeps its files in ``folder``."""

    def __init__(self, folder: Path, name: str = 'greensip test authority') -> None:
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                              key_encipherment=False, data_encipherment=False, key_agreement=False,
                              encipher_only=False, decipher_only=False)
        self.certificate = (
            _builder(self.name, self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256()))
        self.file = folder / 'ca.pem'
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str = 'peer', hosts: Sequence[str] = LOOPBACK) -> Certificate:
        """A certificate for ``hosts``, each as a name or address and as a SIP domain (RFC 5922 7.1)."""
        names = []
        for host in hosts:
            names += [host, f'sip:[{host}]' if ':' in host else f'sip:{host}']
        return self.sign(name, names, hosts[0])

    def sign(self, name: str, names: Sequence[str], common_name: str = 'somebody', *,
             expired: bool = False) -> Certificate:
        """A certificate with just these alternative names: addresses, domains, URIs such as ``sip:example.com``."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = []
        for text in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(text)))
            except ValueError:
                kind = x509.UniformResourceIdentifier if ':' in text else x509.DNSName
                alternatives.append(kind(text))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            _builder(subject, self.name, key, expired)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False))
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        made = Certificate(self.folder / f'{name}.pem', self.folder / f'{name}.key', self.file)
        made.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        made.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        return made


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey,
             expired: bool = False) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2 if expired else 0)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1)))
