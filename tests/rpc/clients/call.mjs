// Runs calls with the official JavaScript client; input and output are those of postgrest_client.py.
// The client is found in the folder that the first argument names.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'

const { PostgrestClient } = createRequire(`${process.argv[2]}/`)('@supabase/postgrest-js')
const asked = JSON.parse(readFileSync(0, 'utf8'))
const client = new PostgrestClient(asked.address, { headers: asked.headers, schema: 'public' })
const answers = []
for (const call of asked.calls) {
  let builder = client.rpc(call.function, call.arguments, call.options)
  for (const [method, ...values] of call.then) builder = builder[method](...values)
  const { data, count, error } = await builder
  const { code, message, details, hint } = error ?? {}
  answers.push({ data, count, error: error && { code, message, details, hint } })
}
process.stdout.write(JSON.stringify(answers))
