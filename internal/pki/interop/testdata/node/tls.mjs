// Opens files with Node's TLS: shows them to a server, which answers with the
// certificates that it saw. Arguments: the server's address and its certificate.
// See batch in consumer_test.go.
import fs from 'node:fs'
import https from 'node:https'
import readline from 'node:readline'

const [address, ca] = process.argv.slice(2)

function show(path, passphrase) {
  const data = fs.readFileSync(path)
  const client = path.endsWith('.pfx') ? { pfx: data } : { key: data, cert: data }
  return new Promise((resolve, reject) => {
    const request = https.request(address, { ...client, passphrase, ca: fs.readFileSync(ca), agent: false }, response => {
      let text = ''
      response.on('data', part => { text += part })
      response.on('end', () => resolve(text.trim()))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end()
  })
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [password, path] = line.split('\t')
  try {
    console.log('opened\t\t' + await show(path, Buffer.from(password, 'base64').toString()))
  } catch (e) {
    console.log('refused\t' + e.message.replace(/\s+/g, ' '))
  }
}
