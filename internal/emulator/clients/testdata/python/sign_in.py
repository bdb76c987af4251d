"""Signs in with msal and with azure.identity."""
import base64
import json
import uuid

import msal
from azure.identity import (
    CertificateCredential, ClientSecretCredential, EnvironmentCredential, ManagedIdentityCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from step import end, env, must, refused, step

TENANT, CLIENT = env["TENANT_ID"], env["CLIENT_ID"]
AUTHORITY = env["AUTHORITY_HOST"]
GRAPH = "https://graph.microsoft.com/.default"


def signed_in(token, audience="https://graph.microsoft.com"):
    part = token.split(".")[1]
    c = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    must(c["appid"] == CLIENT and c["tid"] == TENANT, c)
    must(c["aud"].rstrip("/") == audience, c["aud"])
    return {"oid": c["oid"], "roles": c.get("roles"), "appidacr": c["appidacr"]}


def by_msal(credential, client=CLIENT, tenant=TENANT, scope=GRAPH):
    app = msal.ConfidentialClientApplication(
        client, authority=f"{AUTHORITY}/{tenant}", client_credential=credential, instance_discovery=False
    )
    answer = app.acquire_token_for_client([scope])
    if "access_token" not in answer:
        raise RuntimeError(json.dumps(answer))
    return signed_in(answer["access_token"], scope.removesuffix("/.default").rstrip("/"))


def certificate(path, chain=False):
    with open(path, encoding="ascii") as f:
        text = f.read()
    public = text[text.index("-----BEGIN CERTIFICATE") :]
    thumbprint = x509.load_pem_x509_certificate(public.encode()).fingerprint(hashes.SHA1()).hex()
    credential = {"private_key": text, "thumbprint": thumbprint}
    if chain:
        credential["public_certificate"] = public
    return credential


@step("msal certificate")
def _():
    return by_msal(certificate(env["CERT_PEM"]))


@step("msal certificate with x5c")
def _():
    return by_msal(certificate(env["CERT_PEM"], chain=True))


@step("msal secret")
def _():
    return by_msal(env["CLIENT_SECRET"])


@step("msal with two slashes")
def _():
    return by_msal(env["CLIENT_SECRET"], scope="https://graph.microsoft.com//.default")


@refused("msal unknown certificate", "AADSTS700027")
def _():
    by_msal(certificate(env["STRANGER_PEM"]))


@refused("msal expired secret", "AADSTS7000222")
def _():
    by_msal(env["EXPIRED_SECRET"])


@refused("msal unknown application", "AADSTS700016")
def _():
    by_msal(env["CLIENT_SECRET"], client=str(uuid.uuid4()))


@refused("msal unknown tenant", "Unable to get authority configuration")
def _():
    by_msal(env["CLIENT_SECRET"], tenant=str(uuid.uuid4()))


options = {"authority": AUTHORITY, "instance_discovery": False}


@step("identity certificate from PEM")
def _():
    return signed_in(CertificateCredential(TENANT, CLIENT, env["CERT_PEM"], **options).get_token(GRAPH).token)


@step("identity certificate from PFX")
def _():
    credential = CertificateCredential(TENANT, CLIENT, env["CERT_PFX"], password=env["PFX_PASSWORD"], **options)
    return signed_in(credential.get_token(GRAPH).token)


@step("identity certificate with x5c")
def _():
    credential = CertificateCredential(TENANT, CLIENT, env["CERT_PEM"], send_certificate_chain=True, **options)
    return signed_in(credential.get_token(GRAPH).token)


@step("identity secret")
def _():
    credential = ClientSecretCredential(TENANT, CLIENT, env["CLIENT_SECRET"], **options)
    return signed_in(credential.get_token(GRAPH).token)


@step("identity from the environment")
def _():
    return signed_in(EnvironmentCredential(instance_discovery=False).get_token(GRAPH).token)


@refused("identity unknown certificate", "AADSTS700027")
def _():
    CertificateCredential(TENANT, CLIENT, env["STRANGER_PEM"], **options).get_token(GRAPH)


@step("identity of the web app")
def _():
    token = ManagedIdentityCredential().get_token("https://vault.azure.net/.default").token
    part = token.split(".")[1]
    c = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    must(c["oid"] == env["MANAGED_IDENTITY"], c)


end()
