// Parses the files that are named, and prints each place where a parser stumbles.
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

const require = createRequire(join(process.env.PACKAGES, "package.json"))
const { Parser, Language } = require("web-tree-sitter")
await Parser.init()
for (const file of process.argv.slice(2)) {
  const name = file.endsWith(".ps1") ? "powershell" : "bicep"
  const parser = new Parser()
  parser.setLanguage(await Language.load(require.resolve(`tree-sitter-${name}/tree-sitter-${name}.wasm`)))
  let text = readFileSync(file, "utf8").replace(/^\ufeff/, "")
  // The grammar is older than this statement of Bicep's.
  if (name === "bicep") text = text.replace(/^extension \w+$/m, "")
  const walk = node => {
    if (node.isError || node.isMissing) {
      console.log(`${file}:${node.startPosition.row + 1}: ${node.type} ${JSON.stringify(node.text.slice(0, 80))}`)
      process.exitCode = 1
    }
    for (const child of node.children) walk(child)
  }
  walk(parser.parse(text).rootNode)
}
