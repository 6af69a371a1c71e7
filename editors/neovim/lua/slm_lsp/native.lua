--- Ghost text by Neovim's own `vim.lsp.inline_completion` (0.12).
---
--- Neovim asks and draws; here is only what it leaves out: a text that was typed into since it came
--- is accepted as what is left of it, in part if wanted; asking by hand; telling what became of it.

local client_of = require('slm_lsp.client')
local text = require('slm_lsp.text')
local typing = require('slm_lsp.typing')

local M = {}

local INVOKED = 1 -- InlineCompletionTriggerKind

---@param buf integer
function M.attach(buf)
  vim.lsp.inline_completion.enable(true, { bufnr = buf })
end

---@return boolean
function M.is_shown()
  local namespace = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
  return namespace ~= nil and #vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, {}) > 0
end

--- What Neovim keeps of the current buffer; nil where its parts are not those that are known here.
--- It has no public door to asking by hand, nor to what it will ask in a moment.
---@return table?
local function completor()
  local ok, capability = pcall(require, 'vim.lsp._capability')
  local kind = ok and type(capability) == 'table' and (capability.all or {}).inline_completion
  local found = kind and kind.active and kind.active[vim.api.nvim_get_current_buf()]
  return found and found.request and found.reset_timer and found
end

---@param item table
---@param method string
---@param more table?
local function tell(item, method, more)
  local client = vim.lsp.get_client_by_id(item.client_id)
  if client then
    local raw = { insertText = item.insert_text, command = item.command }
    client_of.notify(client, method, vim.tbl_extend('force', { item = raw }, more or {}))
  end
end

--- What of an item is not typed yet, nil where it does not fit any more.
---@return string?, integer?
local function rest_of(item)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, col = cursor[1] - 1, cursor[2]
  local whole = item.insert_text:gsub('\r\n', '\n')
  if not item.range then
    return whole, 0
  end
  local start, end_ = item.range.start, item.range.end_
  if start.row ~= row or start.col > col then
    return nil
  end
  local typed = vim.api.nvim_get_current_line():sub(start.col + 1, col)
  if not vim.startswith(whole, typed) then
    return nil
  end
  return whole:sub(#typed + 1), end_.row == row and math.max(end_.col - col, 0) or 0
end

---@param cut fun(rest: string): string
---@return boolean
function M.accept(cut)
  if not M.is_shown() then
    return false
  end
  return vim.lsp.inline_completion.get({
    on_accept = function(item)
      local rest, n_replaced = rest_of(item)
      if not rest then
        return
      end
      local part = cut(rest)
      typing.insert(part, part == rest and n_replaced or 0)
      local client = vim.lsp.get_client_by_id(item.client_id)
      if part ~= rest then
        local whole = item.insert_text:gsub('\r\n', '\n')
        local length = text.utf16_length(whole) - text.utf16_length(rest:sub(#part + 1))
        tell(item, 'textDocument/didPartiallyAcceptCompletion', { acceptedLength = length })
      elseif item.command and client then
        client_of.execute(client, item.command.command, item.command.arguments)
      end
    end,
  })
end

---@param step integer
function M.cycle(step)
  vim.lsp.inline_completion.select({ count = step })
end

--- Ask at once, and for more than one text.
function M.trigger()
  local found = completor()
  if found then
    found:reset_timer()
    found:request(INVOKED)
  else
    local said = "slm_lsp: this Neovim cannot be asked by hand; ghost_text = 'own' can"
    vim.notify(said, vim.log.levels.WARN)
  end
end

--- Show nothing more here.
---@return boolean whether anything was shown
function M.dismiss()
  if not M.is_shown() then
    return false
  end
  local found = completor()
  if found then
    found:reset_timer()
  end
  -- What is accepted is hidden first, and is not inserted.
  return vim.lsp.inline_completion.get({
    on_accept = function(item)
      tell(item, 'slm-lsp/didRejectCompletion')
    end,
  })
end

return M
