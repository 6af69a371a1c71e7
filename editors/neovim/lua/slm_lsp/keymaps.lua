--- The keys. Each does what it did before wherever there is nothing to accept.

local config = require('slm_lsp.config')

local M = {}

--- What each key calls, and whether it is ours only while ghost text is shown.
local ACTIONS = {
  accept = true,
  accept_word = true,
  accept_line = true,
  dismiss = true,
  next = false,
  previous = false,
  trigger = false,
}

---@param action string
---@return string
local function fallback_of(action)
  return ('<Plug>(slm-lsp-%s-fallback)'):format(action)
end

--- Keep what a key does under a name of its own.
---@param key string
---@param name string
local function keep(key, name)
  local before = vim.fn.maparg(key, 'i', false, true)
  if before.lhs and before.buffer == 0 then
    before.lhs, before.lhsraw, before.lhsrawalt = name, vim.keycode(name), nil
    vim.fn.mapset('i', false, before)
  else
    vim.keymap.set('i', name, key)
  end
end

local DESCRIPTION = 'slm-lsp: '

--- Whether a key is mapped by us.
---@param key string
---@return boolean
function M.is_ours(key)
  return vim.startswith(vim.fn.maparg(key, 'i', false, true).desc or '', DESCRIPTION)
end

--- Map the keys.
function M.set()
  for action, only_if_shown in pairs(ACTIONS) do
    local key = config.current.keymaps[action]
    if key and not M.is_ours(key) then
      local fallback = fallback_of(action)
      keep(key, fallback)
      vim.keymap.set('i', key, function()
        local slm = require('slm_lsp')
        if slm.is_shown() or (not only_if_shown and slm.is_attached()) then
          return ("<Cmd>lua require('slm_lsp').%s()<CR>"):format(action)
        end
        return fallback
      end, { expr = true, remap = true, desc = DESCRIPTION .. action:gsub('_', ' ') })
    end
  end
end

return M
