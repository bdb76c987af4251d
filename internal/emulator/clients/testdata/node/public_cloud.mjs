// Uses the SDKs as for Microsoft's public cloud, with nothing told to them but
// HTTPS_PROXY: no address, and no check left out.
import { X509Certificate } from 'node:crypto';
import { ClientCertificateCredential } from '@azure/identity';
import { CertificateClient } from '@azure/keyvault-certificates';
import { KeyClient } from '@azure/keyvault-keys';
import { LogsQueryClient } from '@azure/monitor-query-logs';
import { SecretClient } from '@azure/keyvault-secrets';
import { claims, end, env, must, pair, step } from './step.mjs';

const credential = new ClientCertificateCredential(env.TENANT_ID, env.CLIENT_ID, { certificatePath: env.CERT_PEM });
const vault = `https://${env.VAULT_HOST}`;

await step('sign in', async () => {
  const c = claims((await credential.getToken('https://graph.microsoft.com/.default')).token);
  must(c.appid === env.CLIENT_ID, JSON.stringify(c));
});
await step('certificate', async () => {
  const client = new CertificateClient(vault, credential);
  const read = await client.getCertificate(env.CERT_NAME);
  must(read.properties.id.startsWith(vault + '/'), `the vault calls itself ${read.properties.id}`);
  must(new X509Certificate(read.cer).fingerprint256.replaceAll(':', '').toLowerCase() === pair(env.CERT_PEM).thumbprintSha256, 'it is another');
});
await step('secret and key', async () => {
  must((await new SecretClient(vault, credential).getSecret(env.CERT_NAME)).value, 'there is no secret');
  must((await new KeyClient(vault, credential).getKey(env.CERT_NAME)).id.startsWith(vault + '/'), 'the key is elsewhere');
});
await step('list secrets, of which there are several pages', async () => {
  const client = new SecretClient(vault, credential);
  for (let i = 0; i < 30; i++) await client.setSecret(`page-${i}`, 'x');
  const names = new Set(), pages = [];
  for await (const page of client.listPropertiesOfSecrets().byPage()) {
    pages.push(page.length);
    page.filter((p) => p.name.startsWith('page-')).forEach((p) => names.add(p.name));
  }
  must(names.size === 30 && pages.length > 1, `${names.size} on pages of ${pages}`);
});
await step('logs', async () => {
  const result = await new LogsQueryClient(credential).queryWorkspace(env.LOGS_WORKSPACE_ID, env.LOGS_QUERY, { duration: 'P7D' });
  must(result.tables[0].rows.length === 10, JSON.stringify(result));
});
end();
