--- One answer of the server: its items, where they belong, and what of them is still to be typed.
---
--- Invariant: nothing is offered where what stands around the cursor is not what it was made for,
--- but for the beginning of its text typed behind it.

local text = require('slm_lsp.text')

local M = {}

---@class slm_lsp.Item
---@field raw table          as the server sent it
---@field text string        with this buffer's line ends
---@field row integer        where it begins, from 0
---@field col integer        in bytes
---@field n_replaced integer bytes behind the cursor that it replaces
---@field head string        what stands before it in its line
---@field after string       what stood behind the cursor in its line
---@field shown boolean?     whether the server knows that it was seen
---@field n_accepted integer UTF-16 units that were accepted in parts

---@class slm_lsp.Suggestion
---@field buf integer
---@field client_id integer
---@field items slm_lsp.Item[]
---@field index integer
---@field invoked boolean    whether the user asked for it, so that there may be others
local Suggestion = {}
Suggestion.__index = Suggestion

---@param buf integer
---@param raw table
---@param encoding string
---@param cursor integer[]   row and column, from 0
---@return slm_lsp.Item?
local function item_of(buf, raw, encoding, cursor)
  if type(raw) ~= 'table' or type(raw.insertText) ~= 'string' then
    return nil -- a snippet, which this server does not send
  end
  local row, col, end_col = cursor[1], cursor[2], cursor[2]
  local line = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or ''
  if raw.range then
    local from, to = raw.range.start, raw.range['end']
    if from.line ~= row or to.line ~= row then
      return nil
    end
    col = text.byte_column(line, from.character, encoding)
    end_col = text.byte_column(line, to.character, encoding)
  end
  if col > cursor[2] or end_col < cursor[2] then
    return nil
  end
  return {
    raw = raw,
    text = vim.bo[buf].fileformat == 'dos' and raw.insertText:gsub('\r\n', '\n') or raw.insertText,
    row = row,
    col = col,
    n_replaced = end_col - cursor[2],
    head = line:sub(1, col),
    after = line:sub(cursor[2] + 1),
    n_accepted = 0,
  }
end

--- The suggestion that an answer makes at the cursor; nil where it offers nothing.
---@param client vim.lsp.Client
---@param buf integer
---@param result table?
---@param cursor integer[]
---@param invoked boolean
---@return slm_lsp.Suggestion?
function M.new(client, buf, result, cursor, invoked)
  local self = setmetatable(
    { buf = buf, client_id = client.id, items = {}, index = 1, invoked = invoked },
    Suggestion
  )
  for _, raw in ipairs(result and (result.items or result) or {}) do
    local item = item_of(buf, raw, client.offset_encoding, cursor)
    if item and (self:rest_of(item, cursor) or '') ~= '' then
      table.insert(self.items, item)
    end
  end
  return #self.items > 0 and self or nil
end

--- What of an item is not typed yet, or nil where it does not fit any more.
---@param item slm_lsp.Item
---@param cursor integer[]
---@return string?
function Suggestion:rest_of(item, cursor)
  local row, col = cursor[1], cursor[2]
  if row < item.row or (row == item.row and col < item.col) then
    return nil
  end
  local lines = vim.api.nvim_buf_get_lines(self.buf, item.row, row + 1, false)
  if #lines ~= row - item.row + 1 or lines[#lines]:sub(col + 1) ~= item.after then
    return nil
  end
  lines[#lines] = lines[#lines]:sub(1, col)
  if lines[1]:sub(1, item.col) ~= item.head then
    return nil
  end
  lines[1] = lines[1]:sub(item.col + 1)
  local typed = table.concat(lines, '\n')
  return vim.startswith(item.text, typed) and item.text:sub(#typed + 1) or nil
end

---@return slm_lsp.Item
function Suggestion:item()
  return self.items[self.index]
end

--- What is to be shown at the cursor: the rest of the chosen item, or else of another one that
--- goes with what was typed, which is then the chosen one. nil where none does.
---@param cursor integer[]
---@return string?
function Suggestion:rest(cursor)
  for n = 0, #self.items - 1 do
    local index = (self.index - 1 + n) % #self.items + 1
    local rest = self:rest_of(self.items[index], cursor)
    if rest and rest ~= '' then
      self.index = index
      return rest
    end
  end
end

--- Choose the next item that goes with what was typed, in either direction.
---@param step integer 1 or -1
---@param cursor integer[]
function Suggestion:turn(step, cursor)
  for n = 1, #self.items do
    local index = (self.index - 1 + n * step) % #self.items + 1
    if (self:rest_of(self.items[index], cursor) or '') ~= '' then
      self.index = index
      return
    end
  end
end

return M
