--- One line for the statusline.

local client_of = require('slm_lsp.client')

local M = {}

--- The server's state in few words; empty where it has no part in this buffer.
---@return string
function M.line()
  local client = client_of.get(vim.api.nvim_get_current_buf())
  if not client then
    return ''
  end
  local status = client_of.statuses[client.id]
  if not status then
    return 'slm'
  end
  if status.state == 'loading' then
    local done = status.percentage
    local is_known = type(done) == 'number'
    return is_known and ('slm: loading %d %%'):format(done) or 'slm: loading'
  end
  if status.state ~= 'ready' then
    return 'slm: ' .. status.state
  end
  local took = type(status.last_ms) == 'number' and (' %d ms'):format(status.last_ms) or ''
  return ('slm: %s%s'):format(status.model, took)
end

return M
