# Opens files with cryptography. See batch in consumer_test.go.
import base64
import sys

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, load_pem_private_key, pkcs12)


def encode(data):
    return base64.b64encode(data).decode()


def certificates(data):
    end = b"-----END CERTIFICATE-----"
    begin = b"-----BEGIN CERTIFICATE-----"
    if begin not in data:
        return [x509.load_der_x509_certificate(data)]
    return [x509.load_pem_x509_certificate(begin + part.split(end)[0] + end + b"\n")
            for part in data.split(begin)[1:]]


for line in sys.stdin:
    password, path = line.rstrip("\n").split("\t")
    password = base64.b64decode(password)
    with open(path, "rb") as f:
        data = f.read()
    try:
        if path.endswith(".pfx"):
            key, certificate, others = pkcs12.load_key_and_certificates(data, password)
            found = [certificate] + others
        else:
            key = load_pem_private_key(data, password or None) if b"PRIVATE KEY" in data else None
            found = certificates(data)
        fields = ["opened", encode(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())) if key else ""]
        fields += [encode(c.public_bytes(Encoding.DER)) for c in found]
    except Exception as e:
        fields = ["refused", " ".join(str(e).split()) or type(e).__name__]
    print("\t".join(fields))
