// Writes files with node-forge. Arguments: a PEM file of a certificate and its RSA
// key, a folder, a password.
import fs from 'node:fs'
import path from 'node:path'
import forge from 'node-forge'

const [pem, folder, password] = process.argv.slice(2)
const text = fs.readFileSync(pem, 'utf8')
const objects = forge.pem.decode(text)
const find = type => forge.asn1.fromDer(objects.find(o => o.type === type).body)
const key = forge.pki.privateKeyFromAsn1(find('PRIVATE KEY'))
const certificate = forge.pki.certificateFromAsn1(find('CERTIFICATE'))

for (const algorithm of ['3des', 'aes128', 'aes192', 'aes256']) {
  const file = forge.pkcs12.toPkcs12Asn1(key, [certificate], password, { algorithm, friendlyName: 'from forge' })
  fs.writeFileSync(path.join(folder, algorithm + '.pfx'), forge.asn1.toDer(file).getBytes(), 'binary')
  fs.writeFileSync(path.join(folder, algorithm + '.pem'), forge.pki.encryptRsaPrivateKey(key, password, { algorithm }))
}
const bare = forge.pkcs12.toPkcs12Asn1(key, [certificate], null, { useMac: false })
fs.writeFileSync(path.join(folder, 'none.pfx'), forge.asn1.toDer(bare).getBytes(), 'binary')
