--- What happens while somebody types: asking, showing, accepting.
---
--- There is one cursor in insert mode, so there is one suggestion and one request at most.
---
--- Invariant: while what is typed agrees with what is shown nothing is asked. A request that is
--- outdated is cancelled, and an answer that comes all the same is dropped.

local client_of = require('slm_lsp.client')
local config = require('slm_lsp.config')
local ghost = require('slm_lsp.ghost')
local suggestions = require('slm_lsp.suggestion')
local text = require('slm_lsp.text')

local M = {}

local INVOKED, AUTOMATIC = 1, 2 -- InlineCompletionTriggerKind
local METHOD = 'textDocument/inlineCompletion'

local current ---@type slm_lsp.Suggestion?
local pending ---@type { client: vim.lsp.Client, id: integer }?
local timer ---@type uv.uv_timer_t?
local n_asked = 0 -- tells the newest request from those before it
local seen = '' -- the place that was looked at last
local dismissed = '' -- the place at which the user wants nothing

---@return integer[]
local function cursor_now()
  local cursor = vim.api.nvim_win_get_cursor(0)
  return { cursor[1] - 1, cursor[2] }
end

--- Buffer, text and cursor, as something that can be compared.
---@return string
local function place()
  local buf, cursor = vim.api.nvim_get_current_buf(), cursor_now()
  local tick = vim.api.nvim_buf_get_changedtick(buf)
  return table.concat({ buf, tick, cursor[1], cursor[2] }, ' ')
end

local function is_inserting()
  return vim.api.nvim_get_mode().mode:sub(1, 1) == 'i'
end

local function is_hidden_by_popup()
  return config.current.hide_with_popup and vim.fn.pumvisible() == 1
end

---@param name string
---@param item slm_lsp.Item
---@param more table?
local function tell(name, item, more)
  local client = current and vim.lsp.get_client_by_id(current.client_id)
  if client then
    client_of.notify(client, name, vim.tbl_extend('force', { item = item.raw }, more or {}))
  end
end

local function cancel()
  n_asked = n_asked + 1
  if timer then
    timer:stop()
  end
  if pending then
    client_of.cancel(pending.client, pending.id)
    pending = nil
  end
end

local function hide()
  if current then
    ghost.clear(current.buf)
    current = nil
  end
end

--- Show what is left of the suggestion, or hide it where it does not fit any more.
---@return boolean
local function show()
  if not current or current.buf ~= vim.api.nvim_get_current_buf() then
    hide()
    return false
  end
  local cursor = cursor_now()
  local rest = current:rest(cursor)
  if not rest then
    hide()
    return false
  end
  local hint = current.invoked and (' (%d/%d)'):format(current.index, #current.items) or nil
  ghost.draw(current.buf, cursor, rest, hint)
  local item = current:item()
  if not item.shown then
    item.shown = true
    tell('textDocument/didShowCompletion', item)
  end
  return true
end

---@param step integer? which way to go on from what is shown
---@param new slm_lsp.Suggestion?
local function take(new, step)
  local cursor = cursor_now()
  local before = current and current:rest(cursor)
  if not new then
    if step and before then
      -- There are no others.
      current.invoked = true
      show()
    end
    return
  end
  hide()
  current = new
  if step and before and new:rest(cursor) == before then
    new:turn(step, cursor)
  end
  show()
end

--- Ask the server about the place at the cursor.
---@param kind integer
---@param step integer?
local function ask(kind, step)
  cancel()
  local buf = vim.api.nvim_get_current_buf()
  local client = client_of.get(buf)
  if not client or not is_inserting() or is_hidden_by_popup() then
    return
  end
  local number, asked_at = n_asked, place()
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = kind }
  local ok, id = client_of.request(client, METHOD, params, function(err, result)
    if number ~= n_asked then
      return
    end
    pending = nil
    if err or asked_at ~= place() or not is_inserting() or is_hidden_by_popup() then
      return
    end
    result = result ~= vim.NIL and result or nil
    take(suggestions.new(client, buf, result, cursor_now(), kind == INVOKED), step)
  end, buf)
  pending = ok and id and { client = client, id = id } or nil
end

local function ask_later()
  cancel()
  if not config.current.auto or place() == dismissed or vim.fn.reg_executing() ~= '' then
    return
  end
  timer = timer or assert(vim.uv.new_timer())
  local number = n_asked
  timer:start(
    config.current.debounce_ms,
    0,
    vim.schedule_wrap(function()
      if number == n_asked then
        ask(AUTOMATIC)
      end
    end)
  )
end

--- Text or cursor have changed. What is typed through is only drawn anew.
local function changed()
  if is_hidden_by_popup() then
    cancel()
    hide()
    seen = ''
    return
  end
  local now = place()
  if now == seen then
    return
  end
  seen = now
  if show() then
    cancel()
  else
    ask_later()
  end
end

--- The popup has opened or changed, which by itself moves nothing.
local function popup_changed()
  if config.current.hide_with_popup then
    cancel()
    hide()
    seen = ''
  end
end

local function left()
  cancel()
  hide()
  seen, dismissed = '', ''
end

--- Whether ghost text is shown at the cursor.
---@return boolean
function M.is_shown()
  if not current or current.buf ~= vim.api.nvim_get_current_buf() then
    return false
  end
  return current:rest(cursor_now()) ~= nil
end

--- Write `part` at the cursor, which comes to stand behind it, in the place of `n_replaced` bytes.
---@param part string
---@param n_replaced integer
function M.write(part, n_replaced)
  local buf, cursor = vim.api.nvim_get_current_buf(), cursor_now()
  local lines = vim.split(part, '\n', { plain = true })
  local row, col = cursor[1], cursor[2]
  vim.api.nvim_buf_set_text(buf, row, col, row, col + n_replaced, lines)
  local end_col = (#lines == 1 and col or 0) + #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { row + #lines, end_col })
end

--- The same as a change that can be undone by itself.
---@param part string
---@param n_replaced integer
function M.insert(part, n_replaced)
  vim.cmd('let &g:undolevels = &g:undolevels')
  M.write(part, n_replaced)
end

--- Accept what `cut` takes of the text that is shown.
---@param cut fun(rest: string): string
---@return boolean whether anything was shown
function M.accept(cut)
  if not M.is_shown() then
    return false
  end
  assert(current)
  local rest = assert(current:rest(cursor_now()))
  local item, part = current:item(), cut(rest)
  local client = vim.lsp.get_client_by_id(current.client_id)
  if part ~= rest then
    M.insert(part, 0)
    item.n_accepted = text.utf16_length(item.text) - text.utf16_length(rest:sub(#part + 1))
    tell('textDocument/didPartiallyAcceptCompletion', item, { acceptedLength = item.n_accepted })
    changed()
    return true
  end
  hide()
  M.insert(part, item.n_replaced)
  local command = item.raw.command
  if client and type(command) == 'table' then
    client_of.execute(client, command.command, command.arguments)
  end
  changed()
  return true
end

--- Show the next or previous text; the server is asked for others where only one is known.
---@param step integer
function M.cycle(step)
  if M.is_shown() and current and (current.invoked or #current.items > 1) then
    current:turn(step, cursor_now())
    show()
  else
    ask(INVOKED, step)
  end
end

--- Ask at once, and for more than one text.
function M.trigger()
  dismissed = ''
  ask(INVOKED)
end

--- Show nothing more here.
---@return boolean whether anything was shown
function M.dismiss()
  local was_shown = M.is_shown()
  if was_shown and current then
    tell('slm-lsp/didRejectCompletion', current:item())
    dismissed = place()
  end
  cancel()
  hide()
  return was_shown
end

---@param buf integer
---@return integer
local function group_of(buf)
  return vim.api.nvim_create_augroup('slm_lsp.typing.' .. buf, { clear = true })
end

--- Watch what is typed into a buffer.
---@param buf integer
function M.attach(buf)
  local group = group_of(buf)
  local events = {
    [{ 'InsertEnter', 'CursorMovedI', 'TextChangedI', 'TextChangedP', 'CompleteDone' }] = changed,
    [{ 'CompleteChanged' }] = popup_changed,
    [{ 'InsertLeave', 'BufLeave' }] = left,
  }
  for names, callback in pairs(events) do
    vim.api.nvim_create_autocmd(names, {
      group = group,
      buffer = buf,
      -- Neovim reads `true` as "take the autocommand away".
      callback = function()
        callback()
      end,
    })
  end
  if is_inserting() and buf == vim.api.nvim_get_current_buf() then
    ask_later()
  end
end

---@param buf integer
function M.detach(buf)
  group_of(buf)
  if buf == vim.api.nvim_get_current_buf() then
    left()
  end
end

--- A server has ended: nothing of it is left on the screen.
---@param client_id integer
function M.forget(client_id)
  if pending and pending.client.id == client_id then
    pending = nil
    n_asked = n_asked + 1
  end
  if current and current.client_id == client_id then
    hide()
  end
  seen = ''
end

return M
