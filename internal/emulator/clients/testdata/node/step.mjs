// What all programs of this folder share: how they report, and what they sign
// in with.
import { readFileSync } from 'node:fs';
import { X509Certificate } from 'node:crypto';

export const env = process.env;

const report = (line) => process.stdout.write(JSON.stringify(line) + '\n');

/** Does one step and reports it. The object that work returns goes with it. */
export async function step(name, work) {
  try {
    report({ step: name, ok: true, values: (await work()) ?? {} });
  } catch (e) {
    report({ step: name, ok: false, error: `${e?.stack ?? e} ${JSON.stringify(e?.details ?? e?.body ?? null)}` });
  }
}

/** Does one step that must fail with an error that says the text. */
export async function refused(name, text, work) {
  await step(name, async () => {
    try {
      await work();
    } catch (e) {
      const said = `${e?.message} ${e?.code} ${e?.statusCode} ${e?.errorResponse ? JSON.stringify(e.errorResponse) : ''}`;
      if (said.includes(text)) return { error: said };
      throw e;
    }
    throw new Error(`it was not refused; want an error with ${text}`);
  });
}

/** Says that the program came to its end. */
export const end = () => report({ step: 'end', ok: true });

export function must(truth, what) {
  if (!truth) throw new Error(what);
}

/** The parts of a PEM file with a private key and a certificate. */
export function pair(file) {
  const text = readFileSync(file, 'utf8');
  const part = (kind) => text.match(new RegExp(`-----BEGIN ${kind}-----[^-]+-----END ${kind}-----\n`))[0];
  const certificate = part('CERTIFICATE');
  return {
    text,
    key: part('PRIVATE KEY'),
    certificate,
    thumbprint: new X509Certificate(certificate).fingerprint.replaceAll(':', '').toLowerCase(),
    thumbprintSha256: new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

/** The claims of a token. */
export const claims = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
