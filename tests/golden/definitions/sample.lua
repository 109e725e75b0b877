local M = {}
-- Doc
function M.foo(a) return a end
function M:bar() end
local function loc() end
M.baz = function() end
local qux = function() end
local t = { alpha = function() end, ["k"] = function() end }
function glob() end
return M
