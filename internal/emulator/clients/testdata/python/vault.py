"""Keeps certificates, secrets and keys with azure.keyvault, and has a request
of the vault signed by an authority of its own."""
import base64
import datetime
import hashlib

from azure.core.exceptions import HttpResponseError
from azure.identity import CertificateCredential
from azure.keyvault.certificates import CertificateClient, CertificateContentType, CertificatePolicy
from azure.keyvault.keys import KeyClient, KeyCurveName
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, SignatureAlgorithm
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import pkcs12

from step import end, env, must, refused, step

credential = CertificateCredential(
    env["TENANT_ID"], env["CLIENT_ID"], env["CERT_PEM"], authority=env["AUTHORITY_HOST"], instance_discovery=False
)
options = {"vault_url": env["VAULT_URL"], "credential": credential, "verify_challenge_resource": False}
certificates, secrets, keys = CertificateClient(**options), SecretClient(**options), KeyClient(**options)


def create(name, subject=None, issuer="Self", content_type=CertificateContentType.pkcs12):
    policy = CertificatePolicy(
        issuer_name=issuer, subject=subject or f"CN={name}", key_type="RSA", key_size=2048,
        content_type=content_type, validity_in_months=12, exportable=True,
    )
    # The interval of the poller is for a real vault.
    return certificates.begin_create_certificate(name, policy, _polling_interval=0)


def public(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@step("create a self-signed certificate")
def _():
    made = create("python-self").result()
    c = x509.load_der_x509_certificate(bytes(made.cer))
    must(c.subject.rfc4514_string() == "CN=python-self", c.subject)
    must(bytes(made.properties.x509_thumbprint) == c.fingerprint(hashes.SHA1()), "the thumbprint is another")
    secret = secrets.get_secret("python-self")
    key, inside, _ = pkcs12.load_key_and_certificates(base64.b64decode(secret.value), None)
    must(inside == c and public(key) == public(c), "the secret holds another pair")


@step("read the pair that the tenant signs in with")
def _():
    read = certificates.get_certificate(env["CERT_NAME"])
    with open(env["CERT_PEM"], "rb") as f:
        text = f.read()
    must(
        bytes(read.cer) == x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERT") :]).public_bytes(serialization.Encoding.DER),
        "it is another",
    )
    secret = secrets.get_secret(env["CERT_NAME"])
    key, _, _ = pkcs12.load_key_and_certificates(base64.b64decode(secret.value), None)
    must(public(key) == public(serialization.load_pem_private_key(text, None)), "the private key is another")
    versions = list(certificates.list_properties_of_certificate_versions(env["CERT_NAME"]))
    must(len(versions) == 2, len(versions))


@step("merge what an authority signed")
def _():
    create("python-csr", issuer="Unknown")
    operation = certificates.get_certificate_operation("python-csr")
    request = x509.load_der_x509_csr(bytes(operation.csr))
    must(request.is_signature_valid and request.subject.rfc4514_string() == "CN=python-csr", "the request is wrong")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.datetime.utcnow()
    signed = (
        x509.CertificateBuilder().subject_name(request.subject).issuer_name(name).public_key(request.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=90)).sign(key, hashes.SHA256())
    )
    der = signed.public_bytes(serialization.Encoding.DER)
    other = certificates.get_certificate(env["CERT_NAME"])
    try:
        certificates.merge_certificate("python-csr", [bytes(other.cer)])
        raise AssertionError("a certificate with another key was merged")
    except HttpResponseError as e:
        must(e.status_code == 400, e)
    merged = certificates.merge_certificate("python-csr", [der])
    must(bytes(merged.cer) == der, "another was merged")
    private, _, _ = pkcs12.load_key_and_certificates(base64.b64decode(secrets.get_secret("python-csr").value), None)
    must(public(private) == public(signed), "the private key is not that of the request")


@step("cancel a request")
def _():
    create("python-cancel", issuer="Unknown")
    must(certificates.cancel_certificate_operation("python-cancel").cancellation_requested, "it was not asked for")
    certificates.delete_certificate_operation("python-cancel")


@step("import PEM and PFX")
def _():
    with open(env["STRANGER_PEM"], "rb") as f:
        text = f.read()
    der = x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERT") :]).public_bytes(serialization.Encoding.DER)
    policy = CertificatePolicy(issuer_name="Unknown", content_type=CertificateContentType.pem)
    must(bytes(certificates.import_certificate("python-pem", text, policy=policy).cer) == der, "another was imported")
    with open(env["CERT_PFX"], "rb") as f:
        imported = certificates.import_certificate("python-pfx", f.read(), password=env["PFX_PASSWORD"])
    with open(env["CERT_PEM"], "rb") as f:
        text = f.read()
    must(bytes(imported.cer) == x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERT") :]).public_bytes(serialization.Encoding.DER), "another")


@refused("the wrong password of a PFX", "BadParameter")
def _():
    with open(env["CERT_PFX"], "rb") as f:
        certificates.import_certificate("python-wrong", f.read(), password="wrong")


@step("policy and properties")
def _():
    certificates.update_certificate_properties("python-self", tags={"by": "python"})
    must(certificates.get_certificate("python-self").properties.tags == {"by": "python"}, "no tags")
    must(certificates.get_certificate_policy("python-self").subject == "CN=python-self", "another subject")
    certificates.update_certificate_policy("python-self", CertificatePolicy(issuer_name="Self", subject="CN=changed", validity_in_months=6))
    must(certificates.get_certificate_policy("python-self").validity_in_months == 6, "the policy is as it was")


@step("delete, recover, purge")
def _():
    certificates.begin_delete_certificate("python-pem", _polling_interval=0).result()
    must("python-pem" in [c.name for c in certificates.list_deleted_certificates()], "it is not listed")
    certificates.begin_recover_deleted_certificate("python-pem", _polling_interval=0).result()
    must("python-pem" in [c.name for c in certificates.list_properties_of_certificates()], "it did not come back")
    certificates.begin_delete_certificate("python-pem", _polling_interval=0).wait()
    certificates.get_deleted_certificate("python-pem")
    certificates.purge_deleted_certificate("python-pem")


@refused("an unknown certificate", "CertificateNotFound")
def _():
    certificates.get_certificate("python-none")


@step("secrets")
def _():
    first = secrets.set_secret("python-secret", "one", content_type="text/plain")
    secrets.set_secret("python-secret", "two")
    must(secrets.get_secret("python-secret").value == "two", "the newest is another")
    must(secrets.get_secret("python-secret", first.properties.version).value == "one", "the first is another")
    must(len(list(secrets.list_properties_of_secret_versions("python-secret"))) == 2, "not two versions")
    secrets.update_secret_properties("python-secret", first.properties.version, tags={"by": "python"})
    backup = secrets.backup_secret("python-secret")
    secrets.begin_delete_secret("python-secret", _polling_interval=0).result()
    secrets.begin_recover_deleted_secret("python-secret", _polling_interval=0).wait()
    secrets.begin_delete_secret("python-secret", _polling_interval=0).wait()
    secrets.purge_deleted_secret("python-secret")
    secrets.restore_secret_backup(backup)
    must(secrets.get_secret("python-secret", first.properties.version).value == "one", "it was not restored")


@refused("the name of a deleted secret is taken", "ObjectIsDeletedButRecoverable")
def _():
    secrets.set_secret("python-deleted", "x")
    secrets.begin_delete_secret("python-deleted", _polling_interval=0).wait()
    secrets.set_secret("python-deleted", "y")


@step("RSA key")
def _():
    key = keys.create_rsa_key("python-rsa", size=2048)
    number = lambda b: int.from_bytes(b, "big")
    local = rsa.RSAPublicNumbers(number(key.key.e), number(key.key.n)).public_key()
    # Without key operations that allow it locally, the client asks the vault.
    client = CryptographyClient(key, credential, verify_challenge_resource=False)
    text = b"what is signed"
    signature = client.sign(SignatureAlgorithm.rs256, hashlib.sha256(text).digest()).signature
    local.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    signature = client.sign(SignatureAlgorithm.ps512, hashlib.sha512(text).digest()).signature
    local.verify(signature, text, padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512())
    sealed = local.encrypt(text, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    must(client.decrypt(EncryptionAlgorithm.rsa_oaep, sealed).plaintext == text, "it decrypts to something else")


@step("EC key")
def _():
    key = keys.create_ec_key("python-ec", curve=KeyCurveName.p_384)
    number = lambda b: int.from_bytes(b, "big")
    local = ec.EllipticCurvePublicNumbers(number(key.key.x), number(key.key.y), ec.SECP384R1()).public_key()
    client = CryptographyClient(key, credential, verify_challenge_resource=False)
    text = b"what is signed"
    raw = client.sign(SignatureAlgorithm.es384, hashlib.sha384(text).digest()).signature
    local.verify(utils.encode_dss_signature(number(raw[:48]), number(raw[48:])), text, ec.ECDSA(hashes.SHA384()))


@step("keys")
def _():
    keys.update_key_properties("python-ec", tags={"by": "python"})
    must(keys.get_key("python-ec").properties.tags == {"by": "python"}, "no tags")
    must({"python-rsa", "python-ec"} <= {k.name for k in keys.list_properties_of_keys()}, "they are not listed")
    before = keys.get_key("python-ec").properties.version
    must(keys.rotate_key("python-ec").properties.version != before, "there is no new version")
    must(len(list(keys.list_properties_of_key_versions("python-ec"))) == 2, "not two versions")
    must(len(keys.get_random_bytes(16)) == 16, "not 16")
    keys.begin_delete_key("python-ec", _polling_interval=0).wait()
    must([k.name for k in keys.list_deleted_keys()] == ["python-ec"], "it is not listed")
    keys.purge_deleted_key("python-ec")


end()
