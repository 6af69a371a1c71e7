--- Drawing: ghost text as one extmark, which is moved and rewritten but never taken away between
--- two texts, so that nothing flickers.

local text = require('slm_lsp.text')

local M = {}

M.namespace = vim.api.nvim_create_namespace('slm_lsp')
local MARK = 1
local SCROLLS = vim.fn.has('nvim-0.11') == 1

--- Name the colours; they follow the colour scheme unless the user sets them.
function M.highlight()
  local has_hint = vim.fn.has('nvim-0.12') == 1
  local link = has_hint and 'ComplHint' or 'NonText'
  local link_more = has_hint and 'ComplHintMore' or 'MoreMsg'
  vim.api.nvim_set_hl(0, 'SlmLspGhost', { default = true, link = link })
  vim.api.nvim_set_hl(0, 'SlmLspGhostMore', { default = true, link = link_more })
end

--- Show `rest` at the cursor.
---@param buf integer
---@param cursor integer[] row and column, from 0
---@param rest string
---@param hint string?     what is said of it, such as which of how many it is
function M.draw(buf, cursor, rest, hint)
  local row, col = cursor[1], cursor[2]
  local lines = vim.split((rest:gsub('\r', '')), '\n', { plain = true })
  local before = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or ''
  local width = vim.fn.strdisplaywidth(before:sub(1, col))
  local chunks = {}
  for n, line in ipairs(lines) do
    local shown = text.expanded(line, n == 1 and width or 0, vim.bo[buf].tabstop)
    chunks[n] = { { shown, 'SlmLspGhost' } }
  end
  if hint then
    table.insert(chunks[#chunks], { hint, 'SlmLspGhostMore' })
  end
  local first = table.remove(chunks, 1)
  vim.api.nvim_buf_set_extmark(buf, M.namespace, row, col, {
    id = MARK,
    virt_text = first,
    -- What stands behind the cursor moves aside, as it will when the text is accepted.
    virt_text_pos = 'inline',
    virt_lines = #chunks > 0 and chunks or nil,
    virt_lines_overflow = SCROLLS and 'scroll' or nil,
    hl_mode = 'combine',
  })
end

---@param buf integer
function M.clear(buf)
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, M.namespace, 0, -1)
  end
end

return M
