// Keeps certificates, secrets and keys with @azure/keyvault-*.
import { X509Certificate, constants, createHash, createPrivateKey, createPublicKey, publicEncrypt, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ClientCertificateCredential } from '@azure/identity';
import { CertificateClient } from '@azure/keyvault-certificates';
import { CryptographyClient, KeyClient } from '@azure/keyvault-keys';
import { SecretClient } from '@azure/keyvault-secrets';
import { end, env, must, pair, refused, step } from './step.mjs';

const credential = new ClientCertificateCredential(env.TENANT_ID, env.CLIENT_ID, { certificatePath: env.CERT_PEM },
  { authorityHost: env.AUTHORITY_HOST, disableInstanceDiscovery: true });
const options = { disableChallengeResourceVerification: true };
const certificates = new CertificateClient(env.VAULT_URL, credential, options);
const secrets = new SecretClient(env.VAULT_URL, credential, options);
const keys = new KeyClient(env.VAULT_URL, credential, options);
const crypto = (key) => new CryptographyClient(key, credential, options);
const poll = { intervalInMs: 20 };

const all = async (pages) => {
  const list = [];
  for await (const item of pages) list.push(item);
  return list;
};
const thumbprint = (cer) => createHash('sha1').update(cer).digest('hex');
const jwk = (key) => createPublicKey({ format: 'jwk', key: Object.fromEntries(
  Object.entries(key.key).filter(([, v]) => v instanceof Uint8Array).map(([k, v]) => [k, Buffer.from(v).toString('base64url')])
    .concat([['kty', key.key.kty], ['crv', key.key.crv]])) });

const selfSigned = (subject, more = {}) => ({ issuerName: 'Self', subject, keyType: 'RSA', keySize: 2048, contentType: 'application/x-pkcs12', validityInMonths: 12, ...more });

let made;
await step('create a self-signed certificate', async () => {
  const poller = await certificates.beginCreateCertificate('node-self', selfSigned('CN=node-self'), poll);
  made = await poller.pollUntilDone();
  must(made.cer?.length, 'there is no certificate');
  const c = new X509Certificate(made.cer);
  must(c.subject === 'CN=node-self', c.subject);
  must(Buffer.from(made.properties.x509Thumbprint).toString('hex') === thumbprint(made.cer), 'the thumbprint is not that of the certificate');
});
await step('its secret opens and fits', async () => {
  const secret = await secrets.getSecret('node-self');
  must(secret.properties.contentType === 'application/x-pkcs12', secret.properties.contentType);
  createSecureContext({ pfx: Buffer.from(secret.value, 'base64'), passphrase: '' });
});
await step('a PEM certificate and its private key', async () => {
  const poller = await certificates.beginCreateCertificate('node-pem', selfSigned('CN=node-pem', { contentType: 'application/x-pem-file' }), poll);
  const done = await poller.pollUntilDone();
  const secret = await secrets.getSecret('node-pem');
  const c = new X509Certificate(secret.value.slice(secret.value.indexOf('-----BEGIN CERTIFICATE')));
  must(c.checkPrivateKey(createPrivateKey(secret.value)), 'the key is not that of the certificate');
  must(thumbprint(c.raw) === thumbprint(done.cer), 'the secret holds another certificate');
});
await step('versions', async () => {
  const second = await (await certificates.beginCreateCertificate('node-self', selfSigned('CN=node-self'), poll)).pollUntilDone();
  must(second.properties.version !== made.properties.version, 'the version is the same');
  const versions = (await all(certificates.listPropertiesOfCertificateVersions('node-self'))).map((v) => v.version);
  must(versions.length === 2 && versions.includes(made.properties.version), versions.join());
  const first = await certificates.getCertificateVersion('node-self', made.properties.version);
  must(thumbprint(first.cer) === thumbprint(made.cer), 'the first version changed');
});
await step('update', async () => {
  const version = made.properties.version;
  await certificates.updateCertificateProperties('node-self', version, { enabled: false, tags: { by: 'node' } });
  const read = await certificates.getCertificateVersion('node-self', version);
  must(read.properties.enabled === false && read.properties.tags.by === 'node', JSON.stringify(read.properties));
  await certificates.updateCertificatePolicy('node-self', selfSigned('CN=changed'));
  must((await certificates.getCertificatePolicy('node-self')).subject === 'CN=changed', 'the policy is as it was');
});
await refused('a disabled version keeps its secret', '403', () => secrets.getSecret('node-self', { version: made.properties.version }));
await step('import PEM', async () => {
  const p = pair(env.STRANGER_PEM);
  const imported = await certificates.importCertificate('node-import', Buffer.from(p.text), { policy: { contentType: 'application/x-pem-file' } });
  must(thumbprint(imported.cer) === p.thumbprint, 'the thumbprint is another');
});
await step('import PFX', async () => {
  const imported = await certificates.importCertificate('node-import-pfx', readFileSync(env.CERT_PFX), { password: env.PFX_PASSWORD });
  must(thumbprint(imported.cer) === pair(env.CERT_PEM).thumbprint, 'the thumbprint is another');
});
await step('ask for a signature', async () => {
  await certificates.beginCreateCertificate('node-csr', selfSigned('CN=node-csr', { issuerName: 'Unknown' }), poll);
  const poller = await certificates.getCertificateOperation('node-csr');
  const operation = poller.getOperationState().certificateOperation;
  must(operation.csr.length > 0 && operation.status === 'inProgress', JSON.stringify(operation));
  const merged = await certificates.mergeCertificate('node-csr', [await signRequest(operation.csr)]).catch((e) => e);
  must(merged instanceof Error, 'a chain that is not of the request was taken');
  await certificates.deleteCertificateOperation('node-csr');
});
async function signRequest() { // a certificate with another key
  return Buffer.from(pair(env.STRANGER_PEM).certificate.replace(/-----[^-]+-----|\n/g, ''), 'base64');
}
await step('delete', async () => {
  const deleted = await (await certificates.beginDeleteCertificate('node-pem', poll)).pollUntilDone();
  must(deleted.recoveryId, JSON.stringify(deleted));
  must((await all(certificates.listDeletedCertificates())).some((d) => d.name === 'node-pem'), 'it is not listed');
});
await refused('the name of a deleted certificate is taken', '409', () =>
  certificates.beginCreateCertificate('node-pem', selfSigned('CN=again'), poll));
await step('recover', async () => {
  const poller = await certificates.beginRecoverDeletedCertificate('node-pem', poll);
  must((await poller.pollUntilDone()).name === 'node-pem', 'another came back');
});
await step('purge', async () => {
  await (await certificates.beginDeleteCertificate('node-pem', poll)).pollUntilDone();
  await certificates.purgeDeletedCertificate('node-pem');
});
await step('back up and restore a certificate', async () => {
  const backup = await certificates.backupCertificate('node-import');
  await (await certificates.beginDeleteCertificate('node-import', poll)).pollUntilDone();
  await certificates.purgeDeletedCertificate('node-import');
  const restored = await certificates.restoreCertificateBackup(backup);
  must(thumbprint(restored.cer) === pair(env.STRANGER_PEM).thumbprint, 'another came back');
});
await step('contacts and issuers', async () => {
  await certificates.setContacts([{ email: 'keys@contoso.example', name: 'Keys', phone: '1' }]);
  must((await certificates.getContacts())[0].email === 'keys@contoso.example', 'the contact is another');
  await certificates.deleteContacts();
  await certificates.createIssuer('node-issuer', 'Test', { accountId: 'a', password: 'b' });
  must((await certificates.getIssuer('node-issuer')).provider === 'Test', 'the provider is another');
  await certificates.updateIssuer('node-issuer', { accountId: 'b' });
  must((await certificates.getIssuer('node-issuer')).accountId === 'b', 'the account is another');
  must((await all(certificates.listPropertiesOfIssuers())).some((i) => i.id.endsWith('/node-issuer')), 'the issuer is not listed');
  await certificates.deleteIssuer('node-issuer');
});
await step('list certificates', async () => {
  const names = (await all(certificates.listPropertiesOfCertificates())).map((c) => c.name);
  must(['node-self', 'node-import', 'O365AdvancedAnalytics'].every((n) => names.includes(n)), names.join());
});

await step('secrets', async () => {
  const first = await secrets.setSecret('node-secret', 'one', { contentType: 'text/plain', tags: { by: 'node' } });
  const second = await secrets.setSecret('node-secret', 'two');
  must((await secrets.getSecret('node-secret')).value === 'two', 'the newest is another');
  must((await secrets.getSecret('node-secret', { version: first.properties.version })).value === 'one', 'the first is another');
  must((await all(secrets.listPropertiesOfSecretVersions('node-secret'))).length === 2, 'there are not two versions');
  await secrets.updateSecretProperties('node-secret', second.properties.version, { enabled: false });
  must((await all(secrets.listPropertiesOfSecrets())).some((s) => s.name === 'node-secret'), 'it is not listed');
  const backup = await secrets.backupSecret('node-secret');
  await (await secrets.beginDeleteSecret('node-secret', poll)).pollUntilDone();
  must((await secrets.getDeletedSecret('node-secret')).name === 'node-secret', 'it is not deleted');
  must((await all(secrets.listDeletedSecrets())).length === 1, 'it is not listed as deleted');
  await (await secrets.beginRecoverDeletedSecret('node-secret', poll)).pollUntilDone();
  await (await secrets.beginDeleteSecret('node-secret', poll)).pollUntilDone();
  await secrets.purgeDeletedSecret('node-secret');
  await secrets.restoreSecretBackup(backup);
  must((await secrets.getSecret('node-secret', { version: first.properties.version })).value === 'one', 'it was not restored');
});
await refused('an unknown secret', 'SecretNotFound', () => secrets.getSecret('node-none'));

await step('RSA key', async () => {
  const key = await keys.createRsaKey('node-rsa', { keySize: 2048 });
  const text = Buffer.from('what is signed');
  const digest = createHash('sha256').update(text).digest();
  const rsa = jwk(key);
  for (const algorithm of ['RS256', 'PS256']) {
    const { result } = await crypto(key).sign(algorithm, digest);
    const padding = algorithm === 'PS256' ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
    must(verify('sha256', text, { key: rsa, padding, saltLength: 32 }, result), `the ${algorithm} signature is wrong`);
  }
  const sealed = publicEncrypt({ key: rsa, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, text);
  const opened = await crypto(key).decrypt({ algorithm: 'RSA-OAEP-256', ciphertext: sealed });
  must(Buffer.from(opened.result).equals(text), 'it decrypts to something else');
  const wrapped = await crypto(key).wrapKey('RSA-OAEP', text);
  must(Buffer.from((await crypto(key).unwrapKey('RSA-OAEP', wrapped.result)).result).equals(text), 'it unwraps to something else');
});
await step('EC key', async () => {
  const key = await keys.createEcKey('node-ec', { curve: 'P-256' });
  const text = Buffer.from('what is signed');
  const { result } = await crypto(key).sign('ES256', createHash('sha256').update(text).digest());
  must(verify('sha256', text, { key: jwk(key), dsaEncoding: 'ieee-p1363' }, result), 'the signature is wrong');
  must((await crypto(key).verify('ES256', createHash('sha256').update(text).digest(), result)).result, 'the vault refuses its own signature');
});
await step('import a key', async () => {
  const own = createPrivateKey(pair(env.STRANGER_PEM).key).export({ format: 'jwk' });
  const bytes = Object.fromEntries(Object.entries(own).map(([k, v]) => [k, k === 'kty' ? v : Buffer.from(v, 'base64url')]));
  const imported = await keys.importKey('node-imported', { ...bytes, keyOps: ['sign', 'verify', 'decrypt', 'encrypt'] });
  const text = Buffer.from('what is signed');
  const { result } = await crypto(imported).sign('RS256', createHash('sha256').update(text).digest());
  must(verify('sha256', text, pair(env.STRANGER_PEM).certificate, result), 'another key was imported');
});
await step('rotate a key', async () => {
  await keys.updateKeyRotationPolicy('node-rsa', { lifetimeActions: [{ action: 'Rotate', timeBeforeExpiry: 'P30D' }], expiresIn: 'P90D' });
  must((await keys.getKeyRotationPolicy('node-rsa')).expiresIn === 'P90D', 'the policy is another');
  const before = await keys.getKey('node-rsa');
  const after = await keys.rotateKey('node-rsa');
  must(after.properties.version !== before.properties.version, 'there is no new version');
  must((await all(keys.listPropertiesOfKeyVersions('node-rsa'))).length === 2, 'there are not two versions');
});
await step('random bytes', async () => must((await keys.getRandomBytes(32)).length === 32, 'not 32'));
await step('delete a key', async () => {
  await keys.updateKeyProperties('node-ec', { tags: { by: 'node' } });
  const backup = await keys.backupKey('node-ec');
  await (await keys.beginDeleteKey('node-ec', poll)).pollUntilDone();
  must((await all(keys.listDeletedKeys())).some((k) => k.name === 'node-ec'), 'it is not listed');
  await (await keys.beginRecoverDeletedKey('node-ec', poll)).pollUntilDone();
  await (await keys.beginDeleteKey('node-ec', poll)).pollUntilDone();
  await keys.purgeDeletedKey('node-ec');
  must((await keys.restoreKeyBackup(backup)).name === 'node-ec', 'another came back');
  must((await all(keys.listPropertiesOfKeys())).some((k) => k.name === 'node-ec'), 'it is not listed');
});
end();
