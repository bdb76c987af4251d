# Writes files with cryptography. Arguments: a PEM file of a certificate and its key,
# a folder, a password.
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, load_pem_private_key, pkcs12, pkcs7)

pem, folder, password = pathlib.Path(sys.argv[1]).read_bytes(), pathlib.Path(sys.argv[2]), sys.argv[3].encode()
key = load_pem_private_key(pem, None)
certificate = x509.load_pem_x509_certificate(pem)
builder = PrivateFormat.PKCS12.encryption_builder
pbes = pkcs12.PBES

for name, protection in {
    "best": BestAvailableEncryption(password),
    "none": NoEncryption(),
    "3des": builder().kdf_rounds(50000).key_cert_algorithm(pbes.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1()).build(password),
    "aes256": builder().kdf_rounds(50000).key_cert_algorithm(pbes.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256()).build(password),
}.items():
    (folder / (name + ".pfx")).write_bytes(
        pkcs12.serialize_key_and_certificates(b"from Python", key, certificate, None, protection))

(folder / "pkcs8.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)))
(folder / "traditional.pem").write_bytes(
    key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(password)))
(folder / "der.p7b").write_bytes(pkcs7.serialize_certificates([certificate], Encoding.DER))
