--- Ghost text by Neovim's own `vim.lsp.inline_completion` (0.12).
---
--- Neovim asks and draws; here is only what it leaves out: a text that was typed into since it came
--- is accepted as what is left of it, in part if wanted.

local typing = require('slm_lsp.typing')

local M = {}

---@param buf integer
function M.attach(buf)
  vim.lsp.inline_completion.enable(true, { bufnr = buf })
end

---@return boolean
function M.is_shown()
  local namespace = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
  return namespace ~= nil and #vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, {}) > 0
end

--- What of an item is not typed yet, nil where it does not fit any more.
---@return string?, integer?
local function rest_of(item)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, col = cursor[1] - 1, cursor[2]
  local text = item.insert_text:gsub('\r\n', '\n')
  if not item.range then
    return text, 0
  end
  local start, end_ = item.range.start, item.range.end_
  if start.row ~= row or start.col > col then
    return nil
  end
  local typed = vim.api.nvim_get_current_line():sub(start.col + 1, col)
  if not vim.startswith(text, typed) then
    return nil
  end
  return text:sub(#typed + 1), end_.row == row and math.max(end_.col - col, 0) or 0
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
      if part == rest and item.command and client then
        client:exec_cmd(item.command)
      end
    end,
  })
end

---@param step integer
function M.cycle(step)
  vim.lsp.inline_completion.select({ count = step })
end

return M
