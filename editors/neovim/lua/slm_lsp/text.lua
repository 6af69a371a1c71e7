--- Pure functions on text: what is a word of it, how wide it is, where a position lies.

local M = {}

local NEW_API = vim.fn.has('nvim-0.11') == 1

--- The next word of `text` with the white space before it, or all of it.
---@param text string
---@return string
function M.word(text)
  local word = vim.fn.matchstr(text, [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]])
  return word ~= '' and word or text
end

--- `text` up to the end of its first line that holds something, or all of it.
---@param text string
---@return string
function M.line(text)
  local from = text:find('%S') or 1
  local break_at = text:find('\r?\n', from)
  return break_at and text:sub(1, break_at - 1) or text
end

--- `text` with its tabs as the spaces that they take where the line is `width` wide already.
---@param text string
---@param width integer
---@param tabstop integer
---@return string
function M.expanded(text, width, tabstop)
  if not text:find('\t', 1, true) then
    return text
  end
  local shown = ''
  for part, tab in text:gmatch('([^\t]*)(\t?)') do
    shown = shown .. part
    if tab ~= '' then
      local column = width + vim.fn.strdisplaywidth(shown)
      shown = shown .. (' '):rep(tabstop - column % tabstop)
    end
  end
  return shown
end

--- How long `text` is in UTF-16 units.
---@param text string
---@return integer
function M.utf16_length(text)
  if NEW_API then
    return vim.str_utfindex(text, 'utf-16', #text, false)
  end
  local _, units = vim.str_utfindex(text, #text)
  return units
end

--- The byte of `line` at which an LSP position's character is; its end for what lies behind it.
---@param line string
---@param character integer
---@param encoding string
---@return integer
function M.byte_column(line, character, encoding)
  if encoding == 'utf-8' then
    return math.min(character, #line)
  end
  if NEW_API then
    return vim.str_byteindex(line, encoding, character, false)
  end
  local ok, byte = pcall(vim.str_byteindex, line, character, encoding == 'utf-16')
  return ok and byte or #line
end

return M
