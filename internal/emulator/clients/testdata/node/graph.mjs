// Keeps applications and their credentials with @microsoft/microsoft-graph-client.
import { ClientAssertionCredential, ClientCertificateCredential, ClientSecretCredential, ManagedIdentityCredential } from '@azure/identity';
import { Client, GraphError, PageIterator } from '@microsoft/microsoft-graph-client';
import { claims, end, env, must, pair, refused, step } from './step.mjs';

const options = { authorityHost: env.AUTHORITY_HOST, disableInstanceDiscovery: true };
const scope = 'https://graph.microsoft.com/.default';
const certificate = (clientID, file) => new ClientCertificateCredential(env.TENANT_ID, clientID, { certificatePath: file }, options);

const clientOf = (credential) => Client.initWithMiddleware({
  baseUrl: env.GRAPH_BASE + '/', defaultVersion: 'v1.0', customHosts: new Set([new URL(env.GRAPH_BASE).hostname]),
  authProvider: { getAccessToken: async () => (await credential.getToken(scope)).token },
});
const graph = clientOf(certificate(env.CLIENT_ID, env.CERT_PEM));
const stranger = pair(env.STRANGER_PEM);
const der = stranger.certificate.replace(/-----[^-]+-----|\n/g, '');

let app, secret, key;

await step('list every application', async () => {
  const ids = new Set();
  let pages = 0;
  const iterator = new PageIterator(graph, await graph.api('/applications').select('id,appId').get(), (a) => {
    must(!ids.has(a.id), `application ${a.id} came twice`);
    ids.add(a.id);
    return true;
  });
  await iterator.iterate();
  // The same, page by page, to see that there were pages.
  for (let next = '/applications?$top=50'; next; pages++) next = (await graph.api(next).get())['@odata.nextLink'];
  return { count: ids.size, pages };
});
await step('create an application', async () => {
  app = await graph.api('/applications').post({ displayName: 'made by node', signInAudience: 'AzureADMyOrg' });
  await graph.api('/servicePrincipals').post({ appId: app.appId });
  return { id: app.id, appId: app.appId };
});
await step('read it by both keys', async () => {
  const byID = await graph.api(`/applications/${app.id}`).get();
  const byClientID = await graph.api(`/applications(appId='${app.appId}')`).get();
  must(byID.id === byClientID.id && byID.displayName === 'made by node', 'they differ');
});
await step('find it by filter', async () => {
  const found = await graph.api('/applications').filter(`displayName eq 'made by node'`).get();
  must(found.value.length === 1 && found.value[0].id === app.id, JSON.stringify(found.value));
});
await step('count', async () => {
  const all = await graph.api('/applications').header('ConsistencyLevel', 'eventual').count(true).top(5).get();
  must(all['@odata.count'] > 100, `the count is ${all['@odata.count']}`);
});
await step('register a certificate', async () => {
  await graph.api(`/applications/${app.id}`).patch({
    keyCredentials: [{ type: 'AsymmetricX509Cert', usage: 'Verify', displayName: 'CN=stranger', key: der }],
  });
  const read = await graph.api(`/applications/${app.id}`).select('id,keyCredentials').get();
  key = read.keyCredentials[0];
  must(read.keyCredentials.length === 1, JSON.stringify(read));
  return { keyId: key.keyId, customKeyIdentifier: key.customKeyIdentifier };
});
await step('sign in with that certificate', async () => {
  const c = claims((await certificate(app.appId, env.STRANGER_PEM).getToken(scope)).token);
  must(c.appid === app.appId, `the token is of ${c.appid}`);
});
await step('add a secret', async () => {
  const added = await graph.api(`/applications/${app.id}/addPassword`).post({ passwordCredential: { displayName: 'node' } });
  secret = added;
  const c = claims((await new ClientSecretCredential(env.TENANT_ID, app.appId, added.secretText, options).getToken(scope)).token);
  must(c.appid === app.appId, `the token is of ${c.appid}`);
});
await step('remove the secret', async () => {
  await graph.api(`/applications/${app.id}/removePassword`).post({ keyId: secret.keyId });
});
await refused('sign in with the removed secret', 'AADSTS7000215', () =>
  new ClientSecretCredential(env.TENANT_ID, app.appId, secret.secretText, options).getToken(scope));
await step('batch', async () => {
  const answer = await graph.api('/$batch').post({
    requests: [
      { id: '1', method: 'GET', url: `/applications/${app.id}` },
      { id: '2', method: 'GET', url: '/applications/00000000-0000-0000-0000-000000000000' },
    ],
  });
  const status = Object.fromEntries(answer.responses.map((r) => [r.id, r.status]));
  must(status[1] === 200 && status[2] === 404, JSON.stringify(status));
});
await step('an error is a GraphError', async () => {
  try {
    await graph.api('/applications').post({ displayName: 'x', colour: 'green' });
  } catch (e) {
    must(e instanceof GraphError && e.statusCode === 400, `${e}`);
    return { code: e.code };
  }
  throw new Error('an unknown member was taken');
});
await refused('an application may not do what it was not granted', '403', () =>
  clientOf(certificate(app.appId, env.STRANGER_PEM)).api('/applications').get());
await step('federate with the identity of the web app', async () => {
  const name = 'web-app';
  await graph.api(`/applications/${app.id}/federatedIdentityCredentials`).post({
    name, issuer: `${env.AUTHORITY_HOST}/${env.TENANT_ID}/v2.0`, subject: env.MANAGED_IDENTITY, audiences: ['api://AzureADTokenExchange'],
  });
  const webApp = new ManagedIdentityCredential();
  const credential = new ClientAssertionCredential(env.TENANT_ID, app.appId,
    async () => (await webApp.getToken('api://AzureADTokenExchange/.default')).token, options);
  const c = claims((await credential.getToken(scope)).token);
  must(c.appid === app.appId, `the token is of ${c.appid}`);
  const list = await graph.api(`/applications/${app.id}/federatedIdentityCredentials`).get();
  must(list.value.length === 1 && list.value[0].name === name, JSON.stringify(list.value));
  await graph.api(`/applications/${app.id}/federatedIdentityCredentials/${list.value[0].id}`).delete();
});
await step('delete and restore', async () => {
  await graph.api(`/applications/${app.id}`).delete();
  try {
    await graph.api(`/applications/${app.id}`).get();
    throw new Error('it is still there');
  } catch (e) {
    must(e.statusCode === 404, `${e}`);
  }
  await graph.api(`/directory/deletedItems/${app.id}/restore`).post({});
  await graph.api(`/applications/${app.id}`).get();
});
end();
