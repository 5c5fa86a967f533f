-- What wrk sends: a browser's ten header lines, and another path for every request.
-- Arguments: path prefix, Connection value ("keep-alive" or "close"), header set ("browser" or "bare"), and among how many
-- prefixes requests take turns (0: none but the first argument).
-- The last line that it prints is one JSON object; `load.py` reads it.

local before, after
local number = 0
local spread = 0

function init(args)
   local prefix, connection, headers = args[1], args[2], args[3]
   before = "GET " .. prefix
   spread = tonumber(args[4])
   if headers == "bare" then
      after = " HTTP/1.1\r\nHost: shop.example.com\r\nConnection: " .. connection .. "\r\n\r\n"
      return
   end
   after = " HTTP/1.1\r\n"
      .. "Host: shop.example.com\r\n"
      .. "Connection: " .. connection .. "\r\n"
      .. "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
      .. "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
      .. "Accept-Language: en-GB,en;q=0.7,fr;q=0.3\r\n"
      .. "Accept-Encoding: gzip, deflate, br, zstd\r\n"
      .. "Referer: https://shop.example.com/catalogue?sort=price\r\n"
      .. "Cookie: session=7f9c2ba4e88f827d616045507605853e; theme=dark; consent=1\r\n"
      .. "Sec-Fetch-Mode: navigate\r\n"
      .. "Upgrade-Insecure-Requests: 1\r\n\r\n"
end

function request()
   number = number + 1
   if spread > 0 then
      return before .. number % spread .. "/item-" .. number .. after
   end
   return before .. number .. after
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests":%d,"seconds":%.6f,"bytes":%d,"connect_errors":%d,"read_errors":%d,"write_errors":%d,"status_errors":%d,'
         .. '"timeouts":%d,"p50_us":%.1f,"p99_us":%.1f,"p999_us":%.1f,"max_us":%.1f}\n',
      summary.requests, summary.duration / 1e6, summary.bytes, errors.connect, errors.read, errors.write, errors.status,
      errors.timeout, latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
