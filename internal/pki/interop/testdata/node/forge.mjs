// Opens files with node-forge. See batch in consumer_test.go.
import fs from 'node:fs'
import readline from 'node:readline'
import forge from 'node-forge'

const { asn1, pki } = forge

const base64 = object => forge.util.encode64(asn1.toDer(object).getBytes())

function open(path, password) {
  const file = forge.pkcs12.pkcs12FromAsn1(asn1.fromDer(fs.readFileSync(path, 'binary')), password)
  const bags = type => file.getBags({ bagType: type })[type] ?? []
  const keys = [...bags(pki.oids.pkcs8ShroudedKeyBag), ...bags(pki.oids.keyBag)]
  const certificates = bags(pki.oids.certBag)
  // What forge does not know the algorithm of, it gives out as it found it.
  const key = keys[0].key ? pki.wrapRsaPrivateKey(pki.privateKeyToAsn1(keys[0].key)) : keys[0].asn1
  return [base64(key), ...certificates.map(c => base64(c.cert ? pki.certificateToAsn1(c.cert) : c.asn1))]
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [password, path] = line.split('\t')
  try {
    console.log(['opened', ...open(path, Buffer.from(password, 'base64').toString())].join('\t'))
  } catch (e) {
    console.log('refused\t' + e.message.replace(/\s+/g, ' '))
  }
}
