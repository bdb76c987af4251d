// Queries logs with @azure/monitor-query-logs.
import { ClientCertificateCredential } from '@azure/identity';
import { LogsQueryClient } from '@azure/monitor-query-logs';
import { end, env, must, refused, step } from './step.mjs';

const credential = new ClientCertificateCredential(env.TENANT_ID, env.CLIENT_ID, { certificatePath: env.CERT_PEM },
  { authorityHost: env.AUTHORITY_HOST, disableInstanceDiscovery: true });
const client = new LogsQueryClient(credential, { endpoint: env.LOGS_BASE + '/v1' });

await step('query a workspace', async () => {
  const result = await client.queryWorkspace(env.LOGS_WORKSPACE_ID, env.LOGS_QUERY, { duration: 'P7D' });
  must(result.status === 'Success', result.status);
  const table = result.tables[0];
  must(table.columnDescriptors[0].name === 'TimeGenerated' && table.rows.length === 10, JSON.stringify(table));
  must(table.rows.every(([at], i) => at instanceof Date && (i === 0 || at >= table.rows[i - 1][0])), 'the visits are not in order');
});
await refused('an unknown workspace', 'PathNotFoundError', () =>
  client.queryWorkspace('00000000-0000-4000-8000-000000000000', env.LOGS_QUERY, { duration: 'P7D' }));
end();
