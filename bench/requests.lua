-- Sends prepared requests in turn, and prints what was measured as one line of JSON.
--   wrk … -s requests.lua URL -- FILE FIRST_TOKEN
-- FILE: a request on each line: method, path, body, then names and values of headers, separated by tabs. Sixteen #
-- stand for a number that each request gets anew, counting from FIRST_TOKEN.

local PLACE = string.rep("#", 16)
local requests, position, token = {}, 0, 0

local function split(text, separator)
   local parts, start = {}, 1
   while true do
      local from, to = string.find(text, separator, start, true)
      parts[#parts + 1] = string.sub(text, start, (from or 0) - 1)
      if not from then
         return parts
      end
      start = to + 1
   end
end

function init(arguments)
   token = tonumber(arguments[2])
   for line in io.lines(arguments[1]) do
      local fields, headers = split(line, "\t"), {}
      for index = 4, #fields, 2 do
         headers[fields[index]] = fields[index + 1]
      end
      local body = fields[3] ~= "" and fields[3] or nil
      -- The number is as long as its place, so the length of the body is right already.
      requests[#requests + 1] = split(wrk.format(fields[1], fields[2], headers, body), PLACE)
   end
end

function request()
   position = position % #requests + 1
   local parts = requests[position]
   if #parts == 1 then
      return parts[1]
   end
   token = token + 1
   return table.concat(parts, string.format("%016.0f", token))
end

function done(summary, latency, _)
   local errors = summary.errors
   print(string.format(
      '{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.3f, "p95_ms": %.3f, "p99_ms": %.3f}',
      summary.requests,
      summary.duration / 1e6,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50) / 1e3,
      latency:percentile(95) / 1e3,
      latency:percentile(99) / 1e3
   ))
end
