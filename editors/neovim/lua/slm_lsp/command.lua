--- `:SlmLsp …`: what may be asked of the server by hand.

local client_of = require('slm_lsp.client')

local M = {}

---@param lines string[]
local function show(lines)
  vim.lsp.util.open_floating_preview(lines, 'plaintext', {
    border = 'rounded',
    title = 'slm-lsp',
  })
end

---@param value any
---@return boolean
local function is_set(value)
  return value ~= nil and value ~= vim.NIL and value ~= ''
end

--- Nested counters as one line each, sorted.
---@param value table
---@param prefix string
---@param lines string[]
local function flatten(value, prefix, lines)
  local names = vim.tbl_keys(value)
  table.sort(names, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, name in ipairs(names) do
    local each = value[name]
    if type(each) == 'table' then
      flatten(each, prefix .. name .. '.', lines)
    elseif is_set(each) then
      table.insert(lines, ('%-36s %s'):format(prefix .. name, each))
    end
  end
  return lines
end

---@param status table?
local function show_status(status)
  status = status or {}
  local lines = { ('%s: %s'):format(status.model ~= '' and status.model or 'slm-lsp', status.state) }
  if is_set(status.message) then
    table.insert(lines, status.message)
  end
  if is_set(status.last_ms) then
    table.insert(lines, ('The last request took %d ms.'):format(status.last_ms))
  end
  if is_set(status.last_reject) then
    table.insert(lines, ('It shows nothing (%s); :SlmLsp why says more.'):format(status.last_reject))
  end
  show(lines)
end

---@param why table?
local function show_why(why)
  if not why then
    show({ 'Nothing was asked in this file yet.' })
    return
  end
  local lines = { is_set(why.sentence) and why.sentence or 'The last request shows a text.' }
  for _, each in ipairs({ why.detail, why.advice }) do
    if is_set(each) then
      vim.list_extend(lines, vim.split(tostring(each), '\n'))
    end
  end
  show(lines)
end

---@param client vim.lsp.Client
local function choose_model(client)
  client_of.execute(client, 'slm-lsp.models', nil, function(models)
    local choices = {}
    for _, model in ipairs(models or {}) do
      for _, each in ipairs(model.quantizations) do
        local text = ('%s %s  %.0f MB, %s'):format(
          model.name,
          each.name,
          (is_set(each.size_bytes) and each.size_bytes or 0) / 1e6,
          each.state
        )
        table.insert(choices, { text = text, arguments = { model.name, each.name } })
      end
    end
    vim.ui.select(choices, {
      prompt = 'Model for completions',
      format_item = function(choice)
        return choice.text
      end,
    }, function(choice)
      if choice then
        client_of.execute(client, 'slm-lsp.use', choice.arguments, show_status)
      end
    end)
  end)
end

local function open_log()
  local of_log = vim.lsp.log
  local path = of_log and of_log.get_filename and of_log.get_filename() or vim.lsp.get_log_path()
  vim.cmd.split(vim.fn.fnameescape(path))
  vim.cmd('normal! G')
end

---@type table<string, fun(client: vim.lsp.Client, arguments: string[])>
local WITH_SERVER = {
  status = function(client)
    client_of.execute(client, 'slm-lsp.status', nil, show_status)
  end,
  why = function(client)
    local uri = vim.uri_from_bufnr(0)
    client_of.execute(client, 'slm-lsp.why', { uri }, show_why)
  end,
  stats = function(client)
    client_of.execute(client, 'slm-lsp.stats', nil, function(stats)
      show(flatten(stats or {}, '', {}))
    end)
  end,
  pause = function(client, arguments)
    local minutes = tonumber(arguments[1])
    if arguments[1] and not minutes then
      vim.notify('SlmLsp pause: how many minutes is ' .. arguments[1] .. '?', vim.log.levels.ERROR)
      return
    end
    require('slm_lsp.typing').forget(client.id)
    client_of.execute(client, 'slm-lsp.pause', { minutes }, show_status)
  end,
  resume = function(client)
    client_of.execute(client, 'slm-lsp.resume', nil, show_status)
  end,
  model = function(client, arguments)
    if #arguments == 0 then
      choose_model(client)
    else
      client_of.execute(client, 'slm-lsp.use', arguments, show_status)
    end
  end,
}

local WITHOUT_SERVER = {
  log = open_log,
  restart = client_of.restart,
}

--- The subcommands, sorted.
---@return string[]
function M.names()
  local names = vim.tbl_keys(WITH_SERVER)
  vim.list_extend(names, vim.tbl_keys(WITHOUT_SERVER))
  table.sort(names)
  return names
end

--- Run `:SlmLsp {arguments}`.
---@param arguments string[]
function M.run(arguments)
  local name = table.remove(arguments, 1) or 'status'
  if WITHOUT_SERVER[name] then
    WITHOUT_SERVER[name]()
    return
  end
  if not WITH_SERVER[name] then
    local text = 'SlmLsp: there is no `%s`, but %s'
    vim.notify(text:format(name, table.concat(M.names(), ', ')), vim.log.levels.ERROR)
    return
  end
  local client = client_of.current()
  if not client then
    local text = 'SlmLsp: no server is running. Open a file, or see :checkhealth slm_lsp'
    vim.notify(text, vim.log.levels.WARN)
    return
  end
  WITH_SERVER[name](client, arguments)
end

---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  if #vim.split(line, '%s+') > 2 then
    return {}
  end
  return vim.tbl_filter(function(name)
    return vim.startswith(name, lead)
  end, M.names())
end

return M
