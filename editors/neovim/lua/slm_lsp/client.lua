--- The language client: starts the server, brings it back when it dies, and asks it things.
---
--- Invariant: every request is asynchronous; nothing here waits for the server.

local config = require('slm_lsp.config')

local M = {}

local NAME = 'slm_lsp'
local METHODS_CALLED_WITH_SELF = vim.fn.has('nvim-0.11') == 1
-- A server that dies more often than this within the time is left alone.
local MAX_DEATHS, DEATHS_WITHIN_MS = 4, 60000
local RESTART_AFTER_MS = 300

local deaths = {} ---@type integer[] when, on the loop's clock
local ended_by_us = {} ---@type table<integer, boolean>
local buffers = {} ---@type table<integer, table<integer, boolean>> by client
M.statuses = {} ---@type table<integer, table> by client

--- Called with a client's id when it has ended.
M.on_end = function(_) end

---@param client vim.lsp.Client
---@param name string
local function call(client, name, ...)
  if METHODS_CALLED_WITH_SELF then
    return client[name](client, ...)
  end
  return client[name](...)
end

---@param client vim.lsp.Client
---@param method string
---@param params table
---@param handler fun(err: table?, result: any)
---@param buf integer?
---@return boolean, integer?
function M.request(client, method, params, handler, buf)
  return call(client, 'request', method, params, handler, buf)
end

---@param client vim.lsp.Client
---@param id integer
function M.cancel(client, id)
  call(client, 'cancel_request', id)
end

---@param client vim.lsp.Client
---@param method string
---@param params table
function M.notify(client, method, params)
  call(client, 'notify', method, params)
end

--- The client of a buffer, or without one any.
---@param buf integer?
---@return vim.lsp.Client?
function M.get(buf)
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME, bufnr = buf })) do
    if not call(client, 'is_stopped') then
      return client
    end
  end
end

--- The client of the current buffer, or else any.
---@return vim.lsp.Client?
function M.current()
  return M.get(vim.api.nvim_get_current_buf()) or M.get()
end

--- Run one of the server's commands.
---@param client vim.lsp.Client
---@param command string
---@param arguments any[]?
---@param on_answer fun(result: any)?
function M.execute(client, command, arguments, on_answer)
  local params = { command = command, arguments = arguments }
  M.request(client, 'workspace/executeCommand', params, function(err, result)
    if err then
      local text = ('%s: %s'):format(command, err.message or vim.inspect(err))
      vim.notify(text, vim.log.levels.ERROR)
    elseif on_answer then
      on_answer(result ~= vim.NIL and result or nil)
    end
  end)
end

---@param client_id integer
---@param status table
function M.take_status(client_id, status)
  M.statuses[client_id] = status
  vim.api.nvim_exec_autocmds('User', { pattern = 'SlmLspStatus', modeline = false })
  vim.cmd.redrawstatus({ bang = true })
end

---@return table
local function capabilities()
  local ours = {
    experimental = { slmLspStatus = true },
    textDocument = { inlineCompletion = { dynamicRegistration = true } },
  }
  return vim.tbl_deep_extend('force', vim.lsp.protocol.make_client_capabilities(), ours)
end

--- Whether a buffer is one to complete in.
---@param buf integer
---@return boolean
function M.is_wanted(buf)
  local options, filetype = config.current, vim.bo[buf].filetype
  if vim.bo[buf].buftype ~= '' or filetype == '' then
    return false
  end
  if vim.tbl_contains(options.disabled_filetypes, filetype) then
    return false
  end
  return not options.filetypes or vim.tbl_contains(options.filetypes, filetype)
end

---@param client_id integer
---@param code integer
---@param signal integer
local function ended(client_id, code, signal)
  local of_client = buffers[client_id] or {}
  buffers[client_id], M.statuses[client_id] = nil, nil
  M.on_end(client_id)
  vim.cmd.redrawstatus({ bang = true })
  local is_ours = ended_by_us[client_id]
  ended_by_us[client_id] = nil
  if is_ours or vim.v.exiting ~= vim.NIL then
    return
  end
  local now = vim.uv.now()
  deaths = vim.tbl_filter(function(at)
    return now - at < DEATHS_WITHIN_MS
  end, deaths)
  table.insert(deaths, now)
  if #deaths >= MAX_DEATHS then
    local text = 'slm-lsp ended %d times (exit code %d, signal %d) and is left alone now. '
      .. ':SlmLsp log shows why, :checkhealth slm_lsp what to do, :SlmLsp restart tries again.'
    vim.notify(text:format(#deaths, code, signal), vim.log.levels.ERROR)
    return
  end
  vim.defer_fn(function()
    for buf in pairs(of_client) do
      if vim.api.nvim_buf_is_loaded(buf) then
        M.start(buf)
      end
    end
  end, RESTART_AFTER_MS * #deaths)
end

local told_of = {} ---@type table<string, boolean>

--- Start the server for a buffer, or let the one that runs for its folder take it.
---@param buf integer
function M.start(buf)
  if not M.is_wanted(buf) then
    return
  end
  local cmd = config.command()
  if vim.fn.executable(cmd[1]) == 0 then
    if not told_of[cmd[1]] then
      told_of[cmd[1]] = true
      local text = 'slm-lsp: there is no program `%s`. Install the server, or say where it is: '
        .. "require('slm_lsp').setup({ cmd = { '/path/to/slm-lsp', 'serve' } })"
      vim.notify(text:format(cmd[1]), vim.log.levels.ERROR)
    end
    return
  end
  local root = vim.fs.root(buf, config.current.root_markers)
  local client_id = vim.lsp.start({
    name = NAME,
    cmd = cmd,
    root_dir = root,
    init_options = next(config.current.settings) and config.current.settings or nil,
    capabilities = capabilities(),
    handlers = {
      ['slm-lsp/status'] = function(_, status, context)
        M.take_status(context.client_id, status)
      end,
    },
    on_init = function(client)
      if not config.current.popup then
        client.server_capabilities.completionProvider = nil
      end
    end,
    on_exit = function(code, signal, client_id)
      vim.schedule(function()
        ended(client_id, code, signal)
      end)
    end,
  }, {
    bufnr = buf,
    reuse_client = function(client, wanted)
      local is_same = client.name == wanted.name and client.config.root_dir == wanted.root_dir
      return is_same and not call(client, 'is_stopped')
    end,
  })
  if client_id then
    -- Also of one that will end before it is initialized.
    buffers[client_id] = buffers[client_id] or {}
    buffers[client_id][buf] = true
  end
end

--- Start the server anew for every buffer.
function M.restart()
  deaths, told_of = {}, {}
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME })) do
    ended_by_us[client.id] = true
    M.on_end(client.id)
    call(client, 'stop', true)
  end
  for _, buf in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(buf) then
      M.start(buf)
    end
  end
end

return M
