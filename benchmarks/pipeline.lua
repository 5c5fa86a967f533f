-- One connection that always has `ahead` requests under way (wrk's own way of pipelining: it sends them as one piece).
init = function(args)
   local ahead = tonumber(args[1]) or 100
   local parts = {}
   for number = 1, ahead do
      parts[number] = wrk.format("GET", "/shop/item-" .. number)
   end
   request_text = table.concat(parts)
end

request = function()
   return request_text
end
