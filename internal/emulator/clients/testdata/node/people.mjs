// Signs people in with @azure/msal-node: by device code, and by authorization
// code with PKCE at the pages that a browser would show.
import { ClientCertificateCredential } from '@azure/identity';
import { ConfidentialClientApplication, CryptoProvider, PublicClientApplication } from '@azure/msal-node';
import { Client } from '@microsoft/microsoft-graph-client';
import { claims, end, env, must, refused, step } from './step.mjs';

const authority = new URL(env.AUTHORITY_HOST);
const auth = (clientId, more = {}) => ({
  auth: { clientId, authority: `${authority.origin}/${env.TENANT_ID}`, knownAuthorities: [authority.host], ...more },
});
const graph = (token) => Client.initWithMiddleware({
  baseUrl: env.GRAPH_BASE + '/', defaultVersion: 'v1.0', customHosts: new Set([new URL(env.GRAPH_BASE).hostname]),
  authProvider: { getAccessToken: token },
});
const scopes = ['User.Read'];
const me = async (result) => {
  const person = await graph(async () => result.accessToken).api('/me').get();
  must(person.userPrincipalName === env.ADMINISTRATOR, `this is ${person.userPrincipalName}`);
};

// What the person does at the page of a device code.
const decide = async (code, decision) => {
  const answer = await fetch(`${env.CONTROL_URL}/devicecodes/${code}/${decision}`, {
    method: 'POST', headers: { Authorization: `Bearer ${env.CONTROL_TOKEN}` },
    body: decision === 'approve' ? JSON.stringify({ user: env.ADMINISTRATOR }) : undefined,
  });
  must(answer.ok, `${answer.status} ${await answer.text()}`);
};
// Decisions are approve and decline, or page to approve at the page.
const byDeviceCode = (decision) => new PublicClientApplication(auth(env.GRAPH_COMMAND_LINE)).acquireTokenByDeviceCode({
  scopes,
  deviceCodeCallback: async (response) => {
    if (decision !== 'page') return decide(response.userCode, decision);
    return browse(`${authority.origin}/${env.TENANT_ID}/oauth2/deviceauth`, (form, page) => {
      if (page.includes('name="user_code"') && !form.has('user_code')) form.set('user_code', response.userCode);
      agree(form, page);
    });
  },
});
// What a browser does: shows the page, and sends its form with what the person
// picks, until there is no form, or until it is led away from the authority.
// Returns the parameters with which it was led away, if it was.
async function browse(url, choose) {
  let answer = await fetch(url, { redirect: 'manual' });
  for (let i = 0; i < 5; i++) {
    const to = answer.headers.get('location');
    if (to && !to.startsWith(authority.origin)) return new URL(to).searchParams;
    const page = await answer.text();
    must(answer.ok, `${answer.status} ${page}`);
    if (!page.includes('<form')) return new URLSearchParams();
    const form = new URLSearchParams();
    for (const [, name, value] of page.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)) {
      form.set(name, value.replaceAll('&amp;', '&').replaceAll('&#34;', '"').replaceAll('&#43;', '+'));
    }
    choose(form, page);
    answer = await fetch(answer.url, { method: 'POST', body: form, redirect: 'manual' });
  }
  throw new Error('the pages do not end');
}
const agree = (form, page) => {
  form.set('user', env.ADMINISTRATOR);
  form.set('decision', page.includes('value="consent"') ? 'consent' : '');
};

// A client waits a few seconds between its questions, so these go side by side.
const deviceCodes = Promise.allSettled(['approve', 'page', 'decline'].map(byDeviceCode));

let app, secret;
await step('register a web and a desktop application', async () => {
  const credential = new ClientCertificateCredential(env.TENANT_ID, env.CLIENT_ID, { certificatePath: env.CERT_PEM },
    { authorityHost: authority.origin, disableInstanceDiscovery: true });
  const api = graph(async () => (await credential.getToken('https://graph.microsoft.com/.default')).token);
  app = await api.api('/applications').post({
    displayName: 'people by node',
    web: { redirectUris: ['https://localhost/web'] }, publicClient: { redirectUris: ['http://localhost'] },
    requiredResourceAccess: [{
      resourceAppId: '00000003-0000-0000-c000-000000000000',
      resourceAccess: [{ id: 'df021288-bdef-4463-88db-98f22de89214', type: 'Role' }], // User.Read.All
    }],
  });
  await api.api('/servicePrincipals').post({ appId: app.appId });
  secret = (await api.api(`/applications/${app.id}/addPassword`).post({ passwordCredential: { displayName: 'web' } })).secretText;
});
const authorize = async (client, redirectUri, choose = agree) => {
  const { verifier, challenge } = await new CryptoProvider().generatePkceCodes();
  const url = await client.getAuthCodeUrl({
    scopes, redirectUri, codeChallenge: challenge, codeChallengeMethod: 'S256', state: 'the state', loginHint: env.ADMINISTRATOR,
  });
  const answer = await browse(url, choose);
  must(answer.get('state') === 'the state', 'the state is another');
  if (answer.get('error')) throw new Error(answer.get('error'));
  return { code: answer.get('code'), codeVerifier: verifier, redirectUri, scopes };
};
await step('authorization code of a web application', async () => {
  const client = new ConfidentialClientApplication(auth(app.appId, { clientSecret: secret }));
  const result = await client.acquireTokenByCode(await authorize(client, 'https://localhost/web'));
  must(result.account.username === env.ADMINISTRATOR && result.idTokenClaims.aud === app.appId, JSON.stringify(result.idTokenClaims));
  must(claims(result.accessToken).scp.split(' ').includes('User.Read'), claims(result.accessToken).scp);
  await me(result);
});
await step('authorization code of a desktop application, and a refresh', async () => {
  const client = new PublicClientApplication(auth(app.appId));
  const result = await client.acquireTokenByCode(await authorize(client, 'http://localhost:51234'));
  await me(result);
  const again = await client.acquireTokenSilent({ account: result.account, scopes, forceRefresh: true });
  must(!again.fromCache && again.accessToken !== result.accessToken, 'the token is the old one');
  await me(again);
});
await refused('another verifier', 'invalid_grant', async () => {
  const client = new PublicClientApplication(auth(app.appId));
  const { verifier } = await new CryptoProvider().generatePkceCodes();
  await client.acquireTokenByCode({ ...(await authorize(client, 'http://localhost')), codeVerifier: verifier });
});
await refused('a code is good once', 'AADSTS54005', async () => {
  const client = new PublicClientApplication(auth(app.appId));
  const request = await authorize(client, 'http://localhost');
  await client.acquireTokenByCode(request);
  await new PublicClientApplication(auth(app.appId)).acquireTokenByCode(request);
});
await refused('the person declines', 'access_denied', () =>
  authorize(new PublicClientApplication(auth(app.appId)), 'http://localhost', (form) => form.set('decision', 'decline')));

await step('an administrator consents for everybody', async () => {
  const roles = async () => claims((await new ConfidentialClientApplication(auth(app.appId, { clientSecret: secret }))
    .acquireTokenByClientCredential({ scopes: ['https://graph.microsoft.com/.default'] })).accessToken).roles ?? [];
  must((await roles()).length === 0, 'there are roles already');
  const question = new URLSearchParams({ client_id: app.appId, redirect_uri: 'https://localhost/web', state: 'the state' });
  const answer = await browse(`${authority.origin}/${env.TENANT_ID}/adminconsent?${question}`, agree);
  must(answer.get('admin_consent') === 'True' && answer.get('state') === 'the state', `${answer}`);
  must((await roles()).includes('User.Read.All'), `${await roles()}`);
});

const [approved, byPage, declined] = await deviceCodes;
for (const [name, result] of [['device code', approved], ['device code by the page', byPage]]) {
  await step(name, async () => {
    if (result.status === 'rejected') throw result.reason;
    await me(result.value);
    if (name === 'device code') {
      const info = await graph(async () => result.value.accessToken).api(env.GRAPH_BASE + '/oidc/userinfo').get();
      must(info.sub, JSON.stringify(info));
    }
  });
}
await refused('a declined device code', 'authorization_declined', async () => {
  if (declined.status === 'rejected') throw declined.reason;
});
end();
