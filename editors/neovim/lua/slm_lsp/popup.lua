--- Neovim's own popup menu. By itself it takes of an item's text the first word, and would indent
--- the lines of a block once more; here is what mends both.

local typing = require('slm_lsp.typing')

local M = {}

--- The text of an item of this server.
---@param item table? a CompletionItem
---@return string?
local function text_of(item)
  local edit = item and item.detail == 'slm-lsp' and item.textEdit
  return edit and edit.newText:gsub('\r\n', '\n') or nil
end

--- What the menu inserts for an item: its first line. For `convert` of
--- |vim.lsp.completion.enable()|; items of other servers stay as they are.
---@param item table a CompletionItem
---@return table
function M.item(item)
  local text = text_of(item)
  return text and { word = text:match('^\n*[^\n]*') } or {}
end

--- An item was accepted: its other lines follow.
local function completed()
  if vim.v.event.reason ~= 'accept' then
    return
  end
  local item = vim.tbl_get(vim.v.completed_item, 'user_data', 'nvim', 'lsp', 'completion_item')
  local text = text_of(item)
  local rest = text and text:sub(#M.item(item).word + 1) or ''
  if rest ~= '' then
    typing.write(rest, 0)
  end
end

---@param buf integer
---@param client vim.lsp.Client
function M.attach(buf, client)
  if not vim.lsp.completion then
    return
  end
  vim.lsp.completion.enable(true, client.id, buf, { convert = M.item })
  vim.api.nvim_create_autocmd('CompleteDone', {
    group = vim.api.nvim_create_augroup('slm_lsp.popup.' .. buf, { clear = true }),
    buffer = buf,
    callback = completed,
  })
end

return M
