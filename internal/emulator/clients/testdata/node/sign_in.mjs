// Signs in with @azure/msal-node and with @azure/identity.
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { ConfidentialClientApplication } from '@azure/msal-node';
import {
  ClientAssertionCredential, ClientCertificateCredential, ClientSecretCredential, EnvironmentCredential, ManagedIdentityCredential,
} from '@azure/identity';
import { claims, end, env, must, pair, refused, step } from './step.mjs';

const authority = new URL(env.AUTHORITY_HOST);
const own = pair(env.CERT_PEM), stranger = pair(env.STRANGER_PEM);
const graph = 'https://graph.microsoft.com/.default';

// What a token must say of who signed in.
function signedIn(token, audience) {
  const c = claims(token);
  must(c.appid === env.CLIENT_ID && c.tid === env.TENANT_ID, `the token is of ${c.appid} in ${c.tid}`);
  must(c.aud.replace(/\/$/, '') === audience, `the token is for ${c.aud}`);
  return { roles: c.roles, oid: c.oid, appidacr: c.appidacr };
}

const msal = async (auth, more = {}) => {
  const client = new ConfidentialClientApplication({
    auth: {
      clientId: env.CLIENT_ID, authority: `${authority.origin}/${env.TENANT_ID}`, knownAuthorities: [authority.host], ...auth,
    },
  });
  const result = await client.acquireTokenByClientCredential({ scopes: [graph], ...more });
  return signedIn(result.accessToken, 'https://graph.microsoft.com');
};
const certificate = (p, more = {}) => ({
  clientCertificate: { thumbprintSha256: p.thumbprintSha256, privateKey: p.key, ...more },
});

await step('msal-node certificate', () => msal(certificate(own)));
await step('msal-node certificate with x5c', () => msal(certificate(own, { x5c: own.certificate })));
await step('msal-node certificate by SHA-1', () => msal({ clientCertificate: { thumbprint: own.thumbprint, privateKey: own.key } }));
await step('msal-node secret', () => msal({ clientSecret: env.CLIENT_SECRET }));
await step('msal-node vault', async () => {
  const client = new ConfidentialClientApplication({
    auth: {
      clientId: env.CLIENT_ID, authority: `${authority.origin}/${env.TENANT_ID}`, knownAuthorities: [authority.host],
      ...certificate(own),
    },
  });
  const result = await client.acquireTokenByClientCredential({ scopes: ['https://vault.azure.net/.default'] });
  return signedIn(result.accessToken, 'https://vault.azure.net');
});
await refused('msal-node unknown certificate', 'AADSTS700027', () => msal(certificate(stranger)));
await refused('msal-node foreign private key', 'AADSTS700027', () => msal(certificate({ ...own, key: stranger.key })));
await refused('msal-node expired secret', 'AADSTS7000222', () => msal({ clientSecret: env.EXPIRED_SECRET }));
await refused('msal-node wrong secret', 'AADSTS7000215', () => msal({ clientSecret: 'not-the-secret' }));
await refused('msal-node unknown application', 'AADSTS700016', () => msal({ clientId: randomUUID(), ...certificate(own) }));
await refused('msal-node unknown resource', 'AADSTS500011', () => msal(certificate(own), { scopes: ['https://nowhere.contoso.example/.default'] }));

const options = { authorityHost: authority.origin, disableInstanceDiscovery: true };
const identity = async (credential, scope = graph, audience = 'https://graph.microsoft.com') =>
  signedIn((await credential.getToken(scope)).token, audience);

await step('identity certificate file', () =>
  identity(new ClientCertificateCredential(env.TENANT_ID, env.CLIENT_ID, { certificatePath: env.CERT_PEM }, options)));
await step('identity certificate with x5c', () =>
  identity(new ClientCertificateCredential(env.TENANT_ID, env.CLIENT_ID, { certificatePath: env.CERT_PEM }, { ...options, sendCertificateChain: true })));
await step('identity secret', () =>
  identity(new ClientSecretCredential(env.TENANT_ID, env.CLIENT_ID, env.CLIENT_SECRET, options)));
await step('identity from the environment', () => identity(new EnvironmentCredential({ disableInstanceDiscovery: true })));
await step('identity assertion of its own', () =>
  identity(new ClientAssertionCredential(env.TENANT_ID, env.CLIENT_ID, async () => {
    const part = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
    const now = Math.floor(Date.now() / 1000);
    const text = part({ alg: 'RS256', typ: 'JWT', 'x5t#S256': Buffer.from(own.thumbprintSha256, 'hex').toString('base64url') }) + '.' + part({
      aud: `${authority.origin}/${env.TENANT_ID}/oauth2/v2.0/token`,
      iss: env.CLIENT_ID, sub: env.CLIENT_ID, jti: randomUUID(), nbf: now, exp: now + 300,
    });
    return text + '.' + sign('sha256', Buffer.from(text), createPrivateKey(own.key)).toString('base64url');
  }, options)));
await refused('identity unknown certificate', 'AADSTS700027', () =>
  identity(new ClientCertificateCredential(env.TENANT_ID, env.CLIENT_ID, { certificate: stranger.text }, options)));
await refused('identity unknown tenant', 'endpoints_resolution_error', () =>
  identity(new ClientSecretCredential(randomUUID(), env.CLIENT_ID, env.CLIENT_SECRET, options)));
await step('identity of the web app', async () => {
  const c = claims((await new ManagedIdentityCredential().getToken('https://vault.azure.net/.default')).token);
  must(c.oid === env.MANAGED_IDENTITY, `the token is of ${c.oid}`);
});
end();
